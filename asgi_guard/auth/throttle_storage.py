"""BoundedCounters: the counters of one process, for `limits`, bounded in number.

The in-memory storage of `limits` keeps a counter for every address ever seen in a window and looks
through all of them at each attempt; whoever owns a /48 of IPv6 chooses how many that are.
"""

from __future__ import annotations

from collections import OrderedDict

from limits.aio.storage import Storage

from asgi_guard.protocols import Clock

__all__ = ["BoundedCounters"]


class BoundedCounters(Storage):
    """At most *size* counters, each gone when its window ends. One event loop only.

    When there are more, the one that was counted least recently goes: a flood of new names makes
    room by forgetting those that have been quiet longest, never the one under attack right now.
    """

    STORAGE_SCHEME = None

    def __init__(self, *, size: int, clock: Clock) -> None:
        super().__init__()
        self._size = size
        self._clock = clock
        self._counters: OrderedDict[str, tuple[float, int]] = OrderedDict()

    @property
    def base_exceptions(self) -> type[Exception]:
        """Return what may go wrong here: nothing does."""
        return ValueError

    def __len__(self) -> int:
        return len(self._counters)

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add *amount* to the counter of *key*, which ends *expiry* seconds after its first."""
        until, count = self._current(key)
        if not count:
            until = self._clock.now() + expiry
        self._counters[key] = (until, max(0, count + amount))
        self._counters.move_to_end(key)
        while len(self._counters) > self._size:
            self._counters.popitem(last=False)
        return max(0, count + amount)

    async def get(self, key: str) -> int:
        """Return the counter of *key*, 0 if its window has ended."""
        return self._current(key)[1]

    async def get_expiry(self, key: str) -> float:
        """Return when the window of *key* ends, in Unix seconds."""
        return self._current(key)[0]

    async def check(self) -> bool:
        """Tell that memory is there."""
        return True

    async def reset(self) -> int | None:
        """Forget every counter; return how many there were."""
        count = len(self._counters)
        self._counters.clear()
        return count

    async def clear(self, key: str) -> None:
        """Forget the counter of *key*."""
        self._counters.pop(key, None)

    def _current(self, key: str) -> tuple[float, int]:
        now = self._clock.now()
        until, count = self._counters.get(key, (now, 0))
        return (until, count) if now < until else (now, 0)
