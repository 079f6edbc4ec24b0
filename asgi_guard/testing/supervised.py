"""The owner's side of a supervised server process.

`Supervised` starts ``supervisor.py`` in a session of its own, so that a Ctrl-C in the terminal
reaches the owner and not the server, and keeps the pipe whose end is the order to stop.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

from asgi_guard.errors import ConfigError
from asgi_guard.testing.accounts import ServiceAccount

__all__ = ["Supervised"]

_PROGRAM = Path(__file__).with_name("supervisor.py")
_MARGIN_SECONDS = 10.0
_LOG_TAIL_BYTES = 4000


class Supervised:
    """A running server that does not outlive this process.

    Args:
        command: The server's program and arguments.
        account: Whom it runs as.
        cwd: Its working directory.
        log: File that receives its output; made here, appended to.
        stop_signals: Signals to try in turn, each with the seconds to wait after it; a last one
            that cannot be ignored belongs at the end.
        remove: Folder to delete once the server has ended, however that came about.
        env: Its whole environment. Ours is not handed on: ``PGDATA`` and its kin would steer it.

    Raises:
        ConfigError: The program cannot be run.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        account: ServiceAccount,
        cwd: Path,
        log: Path,
        stop_signals: Sequence[tuple[signal.Signals, float]],
        remove: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        self._owner = os.getpid()
        self._patience = sum(seconds for _, seconds in stop_signals) + _MARGIN_SECONDS
        order = {
            "command": list(command),
            "cwd": str(cwd),
            "env": dict(env or {}),
            "drop_to": [account.uid, account.gid] if account.switch else None,
            "death_signal": int(stop_signals[0][0]),
            "stop_signals": [[int(number), seconds] for number, seconds in stop_signals],
            "remove": None if remove is None else str(remove),
        }
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        log_fd = os.open(log, flags, 0o600)
        try:
            # Our own interpreter and our own file; no shell.
            self._process = subprocess.Popen(  # noqa: S603
                [_interpreter(), "-I", "-S", str(_PROGRAM), json.dumps(order)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_fd,
                cwd="/",
                start_new_session=True,
            )
        finally:
            os.close(log_fd)
        _living.add(self)
        try:
            self.pid = self._read_pid(command[0])
        except BaseException:  # Ctrl-C included: nobody else knows of the process yet
            self.stop()
            raise

    def _read_pid(self, program: str) -> int:
        if self._process.stdout is None:  # pragma: no cover - asked for above
            raise ConfigError("embedded", "the supervisor has no output", "Report this.")
        with self._process.stdout as output:
            line = output.readline()
        if line.strip().isdigit():
            return int(line)
        self.stop()  # so that its last words are in the log
        raise ConfigError(
            "embedded.bin_dir",
            f"{program} cannot be run: {self.log_tail().strip().rpartition(chr(10))[2]}",
            "Check that it is built for this system and that its folder is not mounted noexec.",
        )

    @property
    def running(self) -> bool:
        """Whether the server, with its supervisor, is still there."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Stop the server and wait until it has ended; harmless when done twice.

        Does nothing in a forked child: the server belongs to the process that started it.
        """
        if os.getpid() != self._owner:
            return
        self.disown()
        self._process.wait(self._patience)

    def disown(self) -> None:
        """Close this process's end of the pipe; the last one to do so stops the server."""
        _living.discard(self)
        if self._process.stdin is not None:
            self._process.stdin.close()

    def log_tail(self) -> str:
        """Give the last lines the server wrote, for an error message."""
        try:
            written = self._log.read_bytes()
        except FileNotFoundError:
            return ""
        return written[-_LOG_TAIL_BYTES:].decode(errors="replace")


def _interpreter() -> str:
    if not sys.executable:
        raise ConfigError(
            "embedded",
            "this Python does not know its own program (sys.executable is empty)",
            "Start servers from a Python interpreter, not from an embedding program.",
        )
    return sys.executable


_living: weakref.WeakSet[Supervised] = weakref.WeakSet()


def _disown_after_fork() -> None:
    """A forked child must not keep a dead parent's servers alive."""
    for server in list(_living):
        server.disown()


os.register_at_fork(after_in_child=_disown_after_fork)
