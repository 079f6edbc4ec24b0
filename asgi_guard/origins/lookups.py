"""Answers of a slow source, kept for a while: bounded, and asked once per key at a time.

A stranger can invent origins and host names for ever. So kept refusals cannot push out kept
grants, the number of questions under way has a ceiling, and each has a time limit.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.protocols import Clock

__all__ = ["LookupLimits", "Lookups"]

_HIGHEST: Final = 1e9

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupLimits:
    """How much is kept and how long anything may take.

    Args:
        size: Most grants kept, and as many refusals.
        ttl: How long an answer is kept, in seconds.
        timeout: How long one question may take, in seconds.
        max_pending: Most questions under way at once.
        clock: Where time comes from.

    Raises:
        ConfigError: A number is not positive.
    """

    size: int
    ttl: float
    timeout: float
    max_pending: int
    clock: Clock = SYSTEM_CLOCK

    def __post_init__(self) -> None:
        for setting, value in (
            ("origins.cache_size", self.size),
            ("origins.cache_ttl", self.ttl),
            ("origins.timeout", self.timeout),
            ("origins.max_pending", self.max_pending),
        ):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 < value < _HIGHEST:
                raise ConfigError(setting, f"{value!r} is out of range", "Use a positive number.")


class _Shelf(Generic[K, V]):
    """A bounded mapping whose entries expire; the least recently used goes first."""

    def __init__(self, limits: LookupLimits) -> None:
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._size, self._ttl, self._clock = limits.size, limits.ttl, limits.clock

    def get(self, key: K) -> V | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= self._clock.monotonic():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def put(self, key: K, value: V) -> None:
        self._entries[key] = (self._clock.monotonic() + self._ttl, value)
        self._entries.move_to_end(key)
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def __len__(self) -> int:
        return len(self._entries)


class Lookups(Generic[K, V]):
    """Kept answers, and the questions under way.

    Args:
        limits: How much and how long.
        grants: Tells a grant from a refusal.
    """

    def __init__(self, limits: LookupLimits, *, grants: Callable[[V], bool]) -> None:
        self._granted: _Shelf[K, V] = _Shelf(limits)
        self._refused: _Shelf[K, V] = _Shelf(limits)
        self._pending: dict[K, asyncio.Task[V]] = {}
        self._limits, self._grants = limits, grants

    def peek(self, key: K) -> V | None:
        """Return the kept answer, or None."""
        found = self._granted.get(key)
        return found if found is not None else self._refused.get(key)

    def __len__(self) -> int:
        return len(self._granted) + len(self._refused)

    async def get(self, key: K, ask: Callable[[], Awaitable[V]], *, keep: bool = True) -> V:
        """Return the kept answer, or the one of *ask*, shared by all who wait for *key*.

        Raises:
            UnavailableError: Too many questions are under way.
            TimeoutError: The answer took too long.
            Exception: Whatever *ask* raised; a failure is not kept.
        """
        kept = self.peek(key) if keep else None
        if kept is not None:
            return kept
        task = self._pending.get(key)
        if task is None:
            if len(self._pending) >= self._limits.max_pending:
                raise UnavailableError("too_many_lookups")
            # An empty context: the answer is shared, so it must not depend on who asked first. A
            # source that reads guarded rows as "the current user" is refused, not mixed up.
            task = asyncio.get_running_loop().create_task(
                self._ask(key, ask, keep=keep), context=contextvars.Context()
            )
            self._pending[key] = task
            task.add_done_callback(_retrieve)
        return await asyncio.shield(task)  # one caller hanging up must not fail the others

    async def _ask(self, key: K, ask: Callable[[], Awaitable[V]], *, keep: bool) -> V:
        try:
            async with asyncio.timeout(self._limits.timeout):
                answer = await ask()
        finally:
            self._pending.pop(key, None)
        if keep:
            (self._granted if self._grants(answer) else self._refused).put(key, answer)
        return answer


def _retrieve(task: asyncio.Task[V]) -> None:
    """Mark the exception of a question that nobody waits for any more as seen."""
    if not task.cancelled():
        task.exception()
