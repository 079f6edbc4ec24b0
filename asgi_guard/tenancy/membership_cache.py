"""CachedMemberships: fewer look-ups, bounded in size and time, and never a stale yes.

What a cache of permissions can get wrong, and what is done about it here:

- a revoked member stays in: entries live at most *ttl* seconds from before their look-up began,
  and `invalidate` takes effect at once, also against a look-up that is under way;
- an outage opens the door: an expired entry is never served, a failed look-up is an error;
- guessing empties it: refusals are kept apart from memberships, so that a flood of guessed
  tenants evicts other refusals only;
- a cold key stampedes: concurrent look-ups of one key share one call.
"""

from __future__ import annotations

import asyncio
import contextvars

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.protocols import Clock
from asgi_guard.tenancy.bounded import BoundedEntries
from asgi_guard.tenancy.membership import Membership, Memberships

__all__ = ["CachedMemberships"]

_Key = tuple[str, str]  # (user_id, tenant_id): a pair, so no two of them can be spelled alike
_Entries = BoundedEntries[_Key, Membership | None]


class CachedMemberships:
    """A `Memberships` that remembers the answers of *inner*. One event loop's threads only.

    Args:
        inner: Where the answers come from.
        max_entries: How many memberships, and how many refusals, are kept; the least recently
            used goes first.
        ttl: Seconds an active membership is believed: the longest that a revocation which was
            not followed by `invalidate` stays without effect.
        negative_ttl: Seconds that a refusal (no membership, or not an active one) is believed.
        clock: Monotonic seconds come from here.

    Raises:
        ConfigError: A bound is not positive.
    """

    def __init__(
        self,
        inner: Memberships,
        *,
        max_entries: int = 10_000,
        ttl: float = 30.0,
        negative_ttl: float = 5.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        for name, value in (
            ("max_entries", max_entries),
            ("ttl", ttl),
            ("negative_ttl", negative_ttl),
        ):
            if not value > 0:
                raise ConfigError(f"CachedMemberships.{name}", f"{value!r}", "Pass more than 0.")
        self._inner = inner
        self._clock = clock
        self._granted: _Entries = BoundedEntries(max_entries, ttl)
        self._refused: _Entries = BoundedEntries(max_entries, negative_ttl)
        self._flights: dict[_Key, asyncio.Task[Membership | None]] = {}
        self._running: set[asyncio.Task[Membership | None]] = set()  # asyncio keeps weak ones
        self._generation = 0

    async def lookup(self, user_id: str, tenant_id: str) -> Membership | None:
        """Return a remembered answer, or ask.

        Raises:
            UnavailableError: Nothing current is remembered and the look-up failed.
        """
        key = (user_id, tenant_id)
        now = self._clock.monotonic()
        for entries in (self._granted, self._refused):
            if (entry := entries.current(key, now)) is not None:
                return entry[1]
        flight = self._flights.get(key)
        if flight is None or flight.done() or flight.get_loop() is not asyncio.get_running_loop():
            flight = self._take_off(key, now)
        try:
            # Shielded: the first of several callers may hang up, and the others still wait.
            return await asyncio.shield(flight)
        except UnavailableError as failure:  # an error of its own for each waiting request
            raise UnavailableError(failure.reason) from (failure.__cause__ or failure)
        except Exception as failure:
            raise UnavailableError("memberships_unreachable") from failure

    def invalidate(self, *, user_id: str | None = None, tenant_id: str | None = None) -> None:
        """Forget answers now: of a user, of a tenant, of one in the other; of all by default.

        Look-ups that are under way are not remembered, and no later caller joins them.
        """
        self._generation += 1

        def meant(key: _Key) -> bool:
            return (user_id is None or key[0] == user_id) and (
                tenant_id is None or key[1] == tenant_id
            )

        self._granted.drop(meant)
        self._refused.drop(meant)
        for key in [key for key in self._flights if meant(key)]:
            del self._flights[key]

    def _take_off(self, key: _Key, now: float) -> asyncio.Task[Membership | None]:
        # An empty contextvars context: the call is shared, so it must not run as its first caller.
        flight = asyncio.get_running_loop().create_task(
            self._ask(key, now, self._generation), context=contextvars.Context()
        )
        self._flights[key] = flight
        self._running.add(flight)
        flight.add_done_callback(lambda done: self._land(key, done))
        return flight

    async def _ask(self, key: _Key, began: float, generation: int) -> Membership | None:
        answer = await self._inner.lookup(*key)
        if answer is not None and not isinstance(answer, Membership):
            raise UnavailableError("membership_malformed")
        if generation == self._generation:
            granted = answer is not None and answer.active
            (self._granted if granted else self._refused).keep(key, answer, began)
        return answer

    def _land(self, key: _Key, flight: asyncio.Task[Membership | None]) -> None:
        self._running.discard(flight)
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # seen here, in case that every caller has hung up
