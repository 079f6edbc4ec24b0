"""A program with a session on a person's machine: ``hold|copy|kill files keys [steps]``.

``hold`` opens the session, says ``open``, closes it at the next line of input and says ``closed``;
``copy`` does so too, and keeps a copy of the token as text. ``kill`` saves again and again, each
time killed one call to the file system later, and prints what can be read afterwards.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.auth.sessions.file_store import FileSessionStore
from asgi_guard.errors import GuardError
from asgi_guard.observability import SecurityEvent, subscribe

__all__ = ["hold", "kill"]

_CALLS = ("open", "os.rename", "os.mkdir", "os.remove", "os.chmod", "fcntl.flock")


class Quiet:
    def emit(self, _event: SecurityEvent) -> None:
        """Print nothing: the program's output is its result."""


def hold(files: Path, keys: Path, *, copied: bool) -> None:
    session = FileSessionStore(files, key_folder=keys).load()
    kept = session.reveal("access_token") if copied else len(session.view("access_token"))
    print("open", flush=True)  # noqa: T201 - its result
    sys.stdin.readline()
    session.close()
    print("closed", flush=True)  # noqa: T201 - its result
    sys.stdin.readline()
    del kept


def save(files: Path, keys: Path, token: bytes) -> None:
    FileSessionStore(files, key_folder=keys).save(
        issuer="https://id.example",
        client_id="cli",
        secrets={"access_token": token},
        ends_at=SYSTEM_CLOCK.now() + 600,
    )


def killed(files: Path, keys: Path, step: int) -> bool:
    """Save in a child that dies at the *step*-th call; tell whether it did."""
    child = os.fork()
    if child == 0:
        left = step

        def count(event: str, _arguments: tuple[object, ...]) -> None:
            nonlocal left
            if event in _CALLS:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        save(files, keys, b"new")
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status == -signal.SIGKILL


def kill(files: Path, keys: Path, steps: int) -> None:
    for step in range(steps):
        place, ring = files / str(step), keys / str(step)
        save(place, ring, b"old")
        died = killed(place, ring, step)
        try:
            with FileSessionStore(place, key_folder=ring).load() as session:
                found = session.reveal("access_token")
        except GuardError as error:
            found = str(error)
        print("killed" if died else "finished", found)  # noqa: T201 - its result
        if not died:
            break


if __name__ == "__main__":
    subscribe(Quiet())
    if sys.argv[1] == "kill":
        kill(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    else:
        hold(Path(sys.argv[2]), Path(sys.argv[3]), copied=sys.argv[1] == "copy")
