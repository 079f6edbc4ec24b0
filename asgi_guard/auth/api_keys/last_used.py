"""LastUsed: when a key was used last, coarsely, and never at a request's expense."""

from __future__ import annotations

import asyncio
import contextvars

from asgi_guard.auth.api_keys.record import APIKey
from asgi_guard.auth.api_keys.store import APIKeyStore
from asgi_guard.protocols import Clock
from asgi_guard.tenancy.bounded import BoundedEntries

__all__ = ["LastUsed"]


class LastUsed:
    """Note uses in the background, at most one write per key and window over all processes.

    Args:
        store: Written to, by compare-and-set.
        every: Length of a window, in seconds.
        size: How many keys are remembered; one that was forgotten costs a write that the store
            turns down.
        most: Writes under way at once; further ones are left to a later request.
        clock: Unix seconds.
    """

    def __init__(
        self, store: APIKeyStore, *, every: float, size: int, clock: Clock, most: int = 16
    ) -> None:
        self._store = store
        self._every = every
        self._most = most
        self._clock = clock
        self._noted: BoundedEntries[str, None] = BoundedEntries(size, every)
        self._writes: set[asyncio.Task[None]] = set()
        self.failures = 0

    def note(self, key: APIKey) -> None:
        """Note a use of *key* now; returns at once."""
        now = self._clock.now()
        if self._noted.current(key.key_id, now) is not None or len(self._writes) >= self._most:
            return
        self._noted.keep(key.key_id, None, now)
        if key.last_used_at is not None and now - key.last_used_at < self._every:
            return
        write = asyncio.get_running_loop().create_task(
            self._write(key.key_id, now), context=contextvars.Context()
        )
        self._writes.add(write)
        write.add_done_callback(self._writes.discard)

    async def drain(self) -> None:
        """Wait for the writes under way; for an app's shutdown."""
        while self._writes:
            await asyncio.gather(*self._writes)

    async def _write(self, key_id: str, now: float) -> None:
        try:
            await self._store.touch(key_id, at=now, unless_after=now - self._every)
        except Exception:  # noqa: BLE001 - a statistic; the next window tries again
            self.failures += 1
