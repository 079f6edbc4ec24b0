"""A program of many processes on one key folder, forked from one that has loaded everything.

    python -m tests.support.jose_processes cold FOLDER COUNT
    python -m tests.support.jose_processes kill FOLDER STEPS

``cold`` starts COUNT processes at once on FOLDER and prints the kid that each signs with. ``kill``
rotates keys in folders below FOLDER, each time killed with SIGKILL one call to the file system
later, until a rotation comes to its end; it opens each folder afterwards and prints what became
of the process and of the keys that were there before. ``--careless`` writes without any care.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from asgi_guard.auth.jose import FolderKeyStore, KeyManager
from asgi_guard.errors import GuardError
from asgi_guard.observability import SecurityEvent, subscribe

__all__ = ["manager"]

_FILES = ("open", "os.rename", "os.mkdir", "os.chmod", "os.truncate", "fcntl.flock")


class CarelessStore(FolderKeyStore):
    """A store as many write it: the file is emptied, and then written."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file = path / "keys.json"

    def write(self, content: bytes) -> None:
        with self._file.open("wb") as file:
            self._file.chmod(0o600)
            file.write(content)


class Quiet:
    """A reader of events that prints none of them: the program's output is its result."""

    def emit(self, _event: SecurityEvent) -> None:
        """Drop the event."""


def manager(folder: Path) -> KeyManager:
    """Return a manager whose keys are quickly made."""
    store = CarelessStore(folder) if "--careless" in sys.argv else FolderKeyStore(folder)
    return KeyManager(store, algorithm="ES256")


def forked(work: Callable[[], None]) -> int:
    """Run *work* in a child, and return the child's pid."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException:  # the child must never return into the parent's code
        os._exit(1)


def cold(folder: Path, count: int) -> None:
    """Start *count* processes that all wait for one signal, and then open the folder."""
    gate_reader, gate_writer = os.pipe()
    reader, writer = os.pipe()

    def start() -> None:
        os.close(gate_writer)
        os.read(gate_reader, 1)  # until the parent closes its end
        keys = manager(folder)
        keys.maintain()
        os.write(writer, keys.signing_key().kid.encode() + b"\n")

    children = [forked(start) for _ in range(count)]
    os.close(gate_writer)
    ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    os.close(writer)
    with os.fdopen(reader) as lines:
        sys.stdout.write(lines.read())
    sys.exit(1 if any(ends) else 0)


def rotate(folder: Path, step: int) -> None:
    """Make keys and rotate them, and die at the *step*-th call to the file system."""
    left = step

    def count(event: str, _arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in _FILES:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    keys = manager(folder)
    keys.maintain()
    keys._keeper.change(lambda ring, now: keys._keeper.rotated(ring, now, immediately=True))


def kids(folder: Path) -> set[str]:
    """Open a folder as an app would, and name its keys."""
    keys = manager(folder)
    keys.maintain()
    keys.signing_key()
    return {each.kid for each in keys.status()}


def survivors(folder: Path) -> set[str]:
    """Name the keys of a folder that can still be loaded."""
    try:
        return kids(folder)
    except GuardError:
        return set()


def kill(folder: Path, steps: int) -> None:
    """Kill at each step once, in a folder that has a key already and in one that has none."""
    for has_keys in (True, False):
        for step in range(steps):
            place = folder / f"{step}-{has_keys}"
            before = kids(place) if has_keys else set()
            child = forked(lambda: rotate(place, step))  # noqa: B023 - runs before the next round
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            word = {0: "finished", -signal.SIGKILL: "killed"}.get(status, "failed")
            kept = "kept" if before <= survivors(place) else "lost"
            sys.stdout.write(f"{word} {kept}\n")
            if word != "killed":
                break


if __name__ == "__main__":
    subscribe(Quiet())
    {"cold": cold, "kill": kill}[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
