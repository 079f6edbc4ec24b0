"""CachedLookups: fewer questions to the store, and a bound on how long a revoked key works.

An entry is as old as the moment before its look-up began, so what was revoked since is seen at
most *ttl* seconds later, in every process. Refusals are kept apart, so that a flood of guesses
evicts other guesses only. Concurrent questions about one key share one look-up.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Sequence
from typing import NamedTuple

from asgi_guard._internal.constant_time import equal
from asgi_guard.auth.api_keys.record import APIKey
from asgi_guard.auth.api_keys.store import APIKeyStore
from asgi_guard.errors import UnavailableError
from asgi_guard.protocols import Clock
from asgi_guard.tenancy.bounded import BoundedEntries

__all__ = ["CachedLookups", "Found"]


class Found(NamedTuple):
    """An answer, and whether the store was asked for it just now."""

    record: APIKey | None
    fresh: bool


class CachedLookups:
    """Look keys up by digest. One event loop's threads only.

    Args:
        store: Where the answers come from.
        ttl: Seconds an answer is believed, from before its look-up began.
        timeout: Seconds one look-up may take.
        size: How many keys, and how many refusals, are kept.
        clock: Monotonic seconds.
    """

    def __init__(
        self, store: APIKeyStore, *, ttl: float, timeout: float, size: int, clock: Clock
    ) -> None:
        self._store = store
        self._timeout = timeout
        self._clock = clock
        self._known: BoundedEntries[bytes, APIKey | None] = BoundedEntries(size, ttl)
        self._unknown: BoundedEntries[bytes, APIKey | None] = BoundedEntries(size, ttl)
        self._flights: dict[bytes, asyncio.Task[APIKey | None]] = {}
        self._running: set[asyncio.Task[APIKey | None]] = set()  # asyncio keeps weak ones
        self._generation = 0

    async def find(self, digests: Sequence[bytes]) -> Found:
        """Return what the store says, or said less than *ttl* ago.

        Args:
            digests: Of one key, under each pepper; the first stands for all.

        Raises:
            UnavailableError: The store does not answer.
        """
        now = self._clock.monotonic()
        for entries in (self._known, self._unknown):
            if (entry := entries.current(digests[0], now)) is not None:
                return Found(entry[1], fresh=False)
        flight = self._flights.get(digests[0])
        joined = flight is not None and not flight.done()
        if flight is None or not joined or flight.get_loop() is not asyncio.get_running_loop():
            flight, joined = self._take_off(digests, now), False
        try:
            # Shielded: the first of several callers may hang up, and the others still wait.
            return Found(await asyncio.shield(flight), fresh=not joined)
        except Exception as failure:
            raise UnavailableError("api_keys_unreachable") from failure

    def forget(self) -> None:
        """Forget every answer; look-ups under way are not remembered, nor joined."""
        self._generation += 1
        self._known.drop(lambda _: True)
        self._unknown.drop(lambda _: True)
        self._flights.clear()

    def _take_off(self, digests: Sequence[bytes], now: float) -> asyncio.Task[APIKey | None]:
        # An empty contextvars context: the call is shared, so it must not run as its first caller.
        flight = asyncio.get_running_loop().create_task(
            self._ask(digests, now, self._generation), context=contextvars.Context()
        )
        self._flights[digests[0]] = flight
        self._running.add(flight)
        flight.add_done_callback(lambda done: self._land(digests[0], done))
        return flight

    async def _ask(self, digests: Sequence[bytes], began: float, generation: int) -> APIKey | None:
        async with asyncio.timeout(self._timeout):
            record = await self._store.find(digests)
        # A store's collation or a broken index must not hand out somebody else's key.
        if record is not None and True not in [equal(record.digest, each) for each in digests]:
            raise UnavailableError("api_key_store_confused")
        if generation == self._generation:
            entries = self._unknown if record is None else self._known
            entries.keep(digests[0], record, began)
        return record

    def _land(self, digest: bytes, flight: asyncio.Task[APIKey | None]) -> None:
        self._running.discard(flight)
        if self._flights.get(digest) is flight:
            del self._flights[digest]
        if not flight.cancelled():
            flight.exception()  # seen here, in case that every caller has hung up
