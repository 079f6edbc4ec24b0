"""A program of many processes on one table of signing keys, forked after everything is loaded.

    python -m tests.support.sql_keys_processes cold URL COUNT
    python -m tests.support.sql_keys_processes kill URL STEPS

``cold`` starts COUNT processes at once on an empty table and prints the kid that each signs with.
``kill`` rotates keys, each time killed with SIGKILL one step of the database later, until a
rotation comes to its end; it prints what became of the process and of the keys that were there.
``--careless`` takes no lock.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import AbstractContextManager, nullcontext

from sqlalchemy import MetaData, create_engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from asgi_guard.auth.jose import KeyManager
from asgi_guard.errors import GuardError
from asgi_guard.integrations.sql_keys import SQLKeyStore, signing_keys_table
from asgi_guard.observability import subscribe
from asgi_guard.secret import Secret
from asgi_guard.vault import KeyRing, LocalMasterKey
from tests.support.jose_processes import Quiet, forked

__all__ = ["MASTER", "OTHER_MASTER", "TABLE", "async_engine", "key_store", "make_table", "manager"]

TABLE = signing_keys_table(MetaData())
MASTER = LocalMasterKey(Secret("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="))
OTHER_MASTER = LocalMasterKey(Secret("ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="))
_EVENTS = ("before_cursor_execute", "commit")


class CarelessStore:
    """A store without a lock; each of its processes reads before any of them writes."""

    def __init__(self, store: SQLKeyStore, told: int, gate: int) -> None:
        self._store, self._told, self._gate = store, told, gate

    def read(self) -> bytes | None:
        content = self._store.read()
        os.write(self._told, b".")
        os.read(self._gate, 1)  # until the parent has heard of all
        return content

    def write(self, content: bytes) -> None:
        with self._store.locked():
            self._store.write(content)

    def stamp(self) -> object:
        return self._store.stamp()

    def locked(self) -> AbstractContextManager[None]:
        return nullcontext()


def async_engine(url: str) -> AsyncEngine:
    """Return an engine as the store wants it."""
    return create_async_engine(url, poolclass=NullPool)


def make_table(url: str) -> None:
    """Make the table."""
    plain = url.replace("+aiosqlite", "").replace("+asyncpg", "+psycopg")
    engine = create_engine(plain, poolclass=NullPool)
    TABLE.create(engine)
    engine.dispose()


def key_store(url: str, masters: KeyRing | None = None, *, ring: str = "default") -> SQLKeyStore:
    """Return a store on the table."""
    return SQLKeyStore(async_engine(url), TABLE, masters=masters or KeyRing(MASTER), ring=ring)


def manager(url: str, *, ring: str = "default") -> KeyManager:
    """Return a manager whose keys are quickly made."""
    return KeyManager(key_store(url, ring=ring), algorithm="ES256")


def cold(url: str, count: int) -> None:
    """Start *count* processes that all wait for one signal, and then open the table."""
    start, go = os.pipe()
    told, telling = os.pipe()
    second, release = os.pipe()
    lines, result = os.pipe()

    def work() -> None:
        os.close(go)
        os.close(release)
        os.read(start, 1)
        store = key_store(url)
        careful = KeyManager(store, algorithm="ES256")
        careless = CarelessStore(store, telling, second)
        keys = KeyManager(careless, algorithm="ES256") if "--careless" in sys.argv else careful
        keys.maintain()
        os.write(result, keys.signing_key().kid.encode() + b"\n")

    children = [forked(work) for _ in range(count)]
    os.close(go)
    if "--careless" in sys.argv:
        heard = 0
        while heard < count:
            heard += len(os.read(told, count))
    os.close(release)
    ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    os.close(result)
    with os.fdopen(lines) as kids:
        sys.stdout.write(kids.read())
    sys.exit(1 if any(ends) else 0)


def rotate(url: str, ring: str, step: int) -> None:
    """Make keys and rotate them, and die at the *step*-th word with the database."""
    left = step
    engine = async_engine(url)

    def count(*_anything: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    for name in _EVENTS:
        event.listen(engine.sync_engine, name, count)
    store = SQLKeyStore(engine, TABLE, masters=KeyRing(MASTER), ring=ring)
    keys = KeyManager(store, algorithm="ES256")
    keys.maintain()
    keys._keeper.change(lambda ring, now: keys._keeper.rotated(ring, now, immediately=True))


def kids(url: str, ring: str) -> set[str]:
    """Open a ring as an app would, and name its keys."""
    keys = manager(url, ring=ring)
    keys.maintain()
    keys.signing_key()
    return {each.kid for each in keys.status()}


def survivors(url: str, ring: str) -> set[str]:
    """Name the keys of a ring that can still be loaded."""
    try:
        return kids(url, ring)
    except GuardError:
        return {"none"}


def kill(url: str, steps: int) -> None:
    """Kill at each step once, in a ring that has a key already and in one that has none."""
    for has_keys in (True, False):
        for step in range(steps):
            ring = f"ring-{step}-{has_keys}".lower()
            before = kids(url, ring) if has_keys else set()
            child = forked(lambda: rotate(url, ring, step))  # noqa: B023 - runs before the next
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            word = {0: "finished", -signal.SIGKILL: "killed"}.get(status, "failed")
            after = survivors(url, ring)
            kept = "kept" if before <= after and "none" not in after else "lost"
            sys.stdout.write(f"{word} {kept}\n")
            if word != "killed":
                break


if __name__ == "__main__":
    subscribe(Quiet())
    {"cold": cold, "kill": kill}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
