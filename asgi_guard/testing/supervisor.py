"""The program that stands between an owner and its server; run by path, standard library only.

It starts the server as its child and waits for either of two things: the server ends, or its own
standard input ends. The owner holds the other side of that input, so the second happens when the
owner asks for a stop, exits, crashes or is killed: each of them stops the server the same way.
Since the server is the supervisor's own unreaped child, its pid cannot have passed to a stranger.

Usage: ``python -I -S supervisor.py '<json>'`` with the keys of `supervised.Supervised`.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from typing import Any

__all__ = ["main"]

_OWNER = 0
_PR_SET_PDEATHSIG = 1
_CHECK_SECONDS = 1.0  # only where there is no pidfd to wait on


def main() -> int:
    """Run the server until it ends or the owner is gone; give the server's exit status."""
    order: dict[str, Any] = json.loads(sys.argv[1])
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    # An argument list from our own owner, no shell.
    server = subprocess.Popen(  # noqa: S603
        order["command"],
        cwd=order["cwd"],
        env=order["env"],
        stdin=subprocess.DEVNULL,
        stdout=2,
        stderr=2,
        preexec_fn=_prepare_child(order["drop_to"], order["death_signal"]),  # noqa: PLW1509 - no threads here
    )
    sys.stdout.write(f"{server.pid}\n")  # the owner waits for this line
    sys.stdout.flush()
    asked = _owner_ends_before(server)
    for number, patience in order["stop_signals"]:
        if server.poll() is not None:
            break
        server.send_signal(number)
        try:
            server.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    status = server.wait()
    # A server that gave up by itself leaves its folder: its owner may want to try again.
    if asked and order["remove"] is not None:
        shutil.rmtree(order["remove"], ignore_errors=True)
    return status if status >= 0 else 128 - status


def _prepare_child(drop_to: list[int] | None, death_signal: int) -> Any:
    """Make what the child runs before the server's program: drop root, be told of our death."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def prepare() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        if drop_to is not None:
            uid, gid = drop_to
            os.setgroups([gid])
            os.setgid(gid)
            os.setuid(uid)
        if libc is not None:  # after setuid, which clears it
            libc.prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)

    return prepare


def _owner_ends_before(server: subprocess.Popen[bytes]) -> bool:
    """Wait for the first of the two to end; tell whether it was the owner."""
    watched = [_OWNER]
    if hasattr(os, "pidfd_open"):
        watched.append(os.pidfd_open(server.pid))
    while server.poll() is None:
        readable, _, _ = select.select(watched, [], [], _CHECK_SECONDS)
        if _OWNER in readable:  # the owner never writes: readable means closed
            return server.poll() is None
    return False


if __name__ == "__main__":
    sys.exit(main())
