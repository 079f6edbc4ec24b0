"""Entries that end: by age, and least recently used first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["BoundedEntries"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedEntries(Generic[K, V]):
    """At most *size* entries, each believed for less than *ttl* seconds.

    Args:
        size: How many; the least recently read or written goes first.
        ttl: Seconds, by the monotonic clock that the caller reads.
    """

    __slots__ = ("_entries", "_size", "_ttl")

    def __init__(self, size: int, ttl: float) -> None:
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._size = size
        self._ttl = ttl

    def __len__(self) -> int:
        return len(self._entries)

    def current(self, key: K, now: float) -> tuple[float, V] | None:
        """Return ``(born, value)`` if there is an entry young enough; drop one that is not."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if not now - entry[0] < self._ttl:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry

    def keep(self, key: K, value: V, born: float) -> None:
        """Keep *value* as of *born*, and let the oldest go when there are too many."""
        self._entries[key] = (born, value)
        self._entries.move_to_end(key)
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def drop(self, meant: Callable[[K], bool]) -> None:
        """Forget each entry whose key is *meant*."""
        for key in [key for key in self._entries if meant(key)]:
            del self._entries[key]
