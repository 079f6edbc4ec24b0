"""Finding and stopping a server that an earlier owner left on a data folder.

A pid in a file proves nothing: the number may belong to somebody else by now. A process is
signalled only when it is a ``postgres`` whose working directory is this very data folder (the
server changes to it at start), and through a pidfd opened before the check where the system has
them, so that the signal cannot reach a successor.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from asgi_guard.errors import ConfigError

__all__ = ["is_ready", "is_server_of", "stop_stale_server"]

_PROC = Path("/proc")
_HAS_PROC = (_PROC / "self" / "cwd").exists()
_PID_FILE = "postmaster.pid"
_STATUS_LINE = 7
_POLL_SECONDS = 0.02
# Fast shutdown, then immediate, then the one that cannot be ignored.
_SIGNALS = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))


def is_ready(data: Path) -> bool:
    """Tell whether the server of *data* says that it takes connections (PostgreSQL 10 on)."""
    try:
        lines = (data / _PID_FILE).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    return len(lines) > _STATUS_LINE and lines[_STATUS_LINE].strip() == "ready"


def stop_stale_server(data: Path) -> bool:
    """Stop whatever still serves *data*; the caller holds the lock of its home.

    Returns:
        Whether a server was found. A ``postmaster.pid`` that names nobody, or a stranger, is
        removed: the stranger is left alone, and the next start is not refused on its account.

    Raises:
        ConfigError: A server is there and cannot be stopped.
    """
    found = False
    for number, patience in _SIGNALS:
        pids = _servers_of(data)
        if not pids:
            (data / _PID_FILE).unlink(missing_ok=True)
            return found
        found = True
        for pid in pids:
            _signal_if_server_of(data, pid, number)
        _wait_until_gone(data, patience)
    if _servers_of(data):
        raise ConfigError(
            "embedded.data_dir",
            f"a server that an earlier run left in {data} cannot be stopped",
            "Stop it by hand, or name another folder.",
        )
    (data / _PID_FILE).unlink(missing_ok=True)
    return found


def is_server_of(data: Path, pid: int) -> bool:
    """Tell whether process *pid* is a PostgreSQL server process working in *data*."""
    look = _is_server_by_proc if _HAS_PROC else _is_server_by_ps
    return look(data, pid)


def _is_server_by_proc(data: Path, pid: int) -> bool:
    entry = _PROC / str(pid)
    try:
        words = (entry / "cmdline").read_bytes().split(b"\0")
        there = (entry / "cwd").stat()
        here = data.stat()
    except OSError:
        return False
    # The postmaster keeps its program's path; its children are titled "postgres: <role>".
    program = Path(os.fsdecode(words[0])).name
    named = program == "postgres" or words[0].startswith(b"postgres:")
    return named and (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _is_server_by_ps(data: Path, pid: int) -> bool:
    program = shutil.which("ps", path="/bin:/usr/bin")
    if program is None:
        return False
    # A fixed program and a number.
    told = subprocess.run(  # noqa: S603
        [program, "-ww", "-o", "command=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    command, _, rest = told.stdout.strip().partition(" -D ")
    return Path(command).name == "postgres" and rest.split(" -c ")[0] == str(data)


def _servers_of(data: Path) -> list[int]:
    """List the postmaster first, then backends that outlived a killed postmaster."""
    candidates = [*_pid_in_file(data)]
    if _HAS_PROC:
        candidates += [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
    return [pid for pid in dict.fromkeys(candidates) if is_server_of(data, pid)]


def _pid_in_file(data: Path) -> Iterator[int]:
    try:
        first = (data / _PID_FILE).read_text().partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError):
        return
    if first.isascii() and first.isdigit():
        yield int(first)


def _signal_if_server_of(data: Path, pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        if not hasattr(os, "pidfd_open"):
            if is_server_of(data, pid):
                os.kill(pid, number)
            return
        handle = os.pidfd_open(pid)
        try:
            if is_server_of(data, pid):
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def _wait_until_gone(data: Path, seconds: float) -> None:
    for _ in range(round(seconds / _POLL_SECONDS)):
        if not _servers_of(data):
            return
        time.sleep(_POLL_SECONDS)
