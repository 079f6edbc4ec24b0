"""MemoryStore: the `KeyValueStore` and `StoreReplayCache` of an app with one process."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import weakref
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Final

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.protocols import Clock, KeyValueStore

__all__ = [
    "MAX_TTL_SECONDS",
    "MAX_VALUE_BYTES",
    "MemoryStore",
    "StoreReplayCache",
    "check_entry",
    "check_key",
]

MAX_VALUE_BYTES: Final = 64 * 1024
MAX_TTL_SECONDS: Final = 10 * 366 * 86_400
_KEY: Final = re.compile(r"[\x21-\x7e]{1,250}")


def check_key(key: str) -> None:
    """Refuse a *key* that some store could not hold, with `ConfigError`."""
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise ConfigError(
            "KeyValueStore key",
            "is not 1 to 250 visible ASCII characters",
            "Hash what comes from outside before it becomes a key.",
        )


def check_entry(key: str, value: bytes, ttl: float) -> None:
    """Refuse what some store could not hold, with `ConfigError`."""
    check_key(key)
    if not isinstance(value, bytes | bytearray):
        raise ConfigError("KeyValueStore value", f"is a {type(value).__name__}", "Pass bytes.")
    if len(value) > MAX_VALUE_BYTES:
        raise ConfigError(
            "KeyValueStore value", f"has {len(value)} bytes", f"Keep it to {MAX_VALUE_BYTES}."
        )
    if not 0 < ttl <= MAX_TTL_SECONDS:  # so that NaN is refused too
        raise ConfigError("KeyValueStore ttl", f"is {ttl}", "Pass seconds, above 0, to ten years.")


class MemoryStore:
    """Keep entries in this process's memory; methods and errors as in `KeyValueStore`.

    Args:
        max_entries: How many entries fit. When all are in use, a new one is refused with
            `UnavailableError`: dropping another would end somebody's session, or let a used
            proof in again.
        clock: Its ``monotonic`` decides when an entry ends.

    Raises:
        ConfigError: *max_entries* is below 1.

    What it holds ends with the process, and a second process does not see it: a forked worker goes
    on with a copy of its own. Safe to use from several event loops and threads.
    """

    def __init__(self, *, max_entries: int = 100_000, clock: Clock = SYSTEM_CLOCK) -> None:
        if max_entries < 1:
            raise ConfigError("MemoryStore.max_entries", f"is {max_entries}", "Pass 1 or more.")
        self._max = max_entries
        self._clock = clock
        self._entries: dict[str, tuple[float, bytes]] = {}
        self._endings: list[tuple[float, str]] = []
        self._lock = threading.Lock()  # never held across an await
        _stores.add(self)

    async def get(self, key: str) -> bytes | None:
        """Return the value of *key*, or None."""
        check_key(key)
        return self._read(key)  # one look-up, which no other thread can come between

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each of *keys*, in their order."""
        for key in keys:
            check_key(key)
        with self._lock:
            return [self._read(key) for key in keys]

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        """Write, whatever was there."""
        check_entry(key, value, ttl)
        with self._lock:
            self._write(key, value, ttl)

    async def put_if_absent(self, key: str, value: bytes, *, ttl: float) -> bool:
        """Write if nothing is there; return whether this call wrote."""
        check_entry(key, value, ttl)
        with self._lock:
            if self._read(key) is not None:
                return False
            self._write(key, value, ttl)
            return True

    async def replace(self, key: str, old: bytes, new: bytes, *, ttl: float) -> bool:
        """Write *new* if *old* is what is there; return whether this call wrote."""
        check_entry(key, new, ttl)
        with self._lock:
            if self._read(key) != old:
                return False
            self._write(key, new, ttl)
            return True

    async def take(self, key: str) -> bytes | None:
        """Remove the entry and return its value, to one caller only."""
        check_key(key)
        with self._lock:
            value = self._read(key)
            self._entries.pop(key, None)
            return value

    async def delete(self, key: str) -> bool:
        """Remove the entry; return whether there was one."""
        return await self.take(key) is not None

    def _read(self, key: str) -> bytes | None:
        ends, value = self._entries.get(key, (0.0, None))
        return value if value is not None and self._clock.monotonic() < ends else None

    def _write(self, key: str, value: bytes, ttl: float) -> None:
        now = self._clock.monotonic()
        if key not in self._entries:
            self._make_room(now)
        self._entries[key] = (now + ttl, bytes(value))
        heappush(self._endings, (now + ttl, key))
        if len(self._endings) > 2 * self._max + 64:  # one entry written again and again
            self._endings = sorted((ends, key) for key, (ends, _) in self._entries.items())

    def _make_room(self, now: float) -> None:
        while self._endings and self._endings[0][0] <= now:
            _, key = heappop(self._endings)
            if key in self._entries and self._entries[key][0] <= now:
                del self._entries[key]
        if len(self._entries) >= self._max:
            raise UnavailableError("memory_store_full")

    def _unlock_after_fork(self) -> None:
        self._lock = threading.Lock()  # another thread of the parent may have held it


_stores: weakref.WeakSet[MemoryStore] = weakref.WeakSet()


def _unlock_all() -> None:
    for store in list(_stores):
        store._unlock_after_fork()  # noqa: SLF001 - its own module


os.register_at_fork(after_in_child=_unlock_all)


class StoreReplayCache:
    """A `ReplayCache` on any `KeyValueStore`; shared by as many processes as the store is.

    Args:
        store: Where uses are remembered.
        purpose: Begins each key, so that several caches share one store, e.g. ``"dpop"``.

    Raises:
        ConfigError: *purpose* is no short word.
    """

    def __init__(self, store: KeyValueStore, *, purpose: str) -> None:
        if not re.fullmatch(r"[a-z0-9_-]{1,32}", purpose):
            raise ConfigError(
                "StoreReplayCache.purpose", f"{purpose!r} is no short word", "Write e.g. 'dpop'."
            )
        self._store = store
        self._prefix = f"used:{purpose}:"

    async def first_use(self, key: str, *, ttl: float) -> bool:
        """Remember *key* for *ttl* seconds; return False if it was remembered already."""
        name = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        return await self._store.put_if_absent(self._prefix + name, b"1", ttl=ttl)
