"""Directories of memberships with a will of their own, and the cache before them."""

from __future__ import annotations

import asyncio

from asgi_guard.tenancy import CachedMemberships, Membership, current_context
from tests.support.tenancy_world import Directory, MovedClock

__all__ = ["NEGATIVE_TTL", "TTL", "Failing", "Gated", "cached"]

TTL, NEGATIVE_TTL = 30.0, 5.0


class Gated(Directory):
    """A directory whose answers wait for the test, as of the moment they were asked for."""

    def __init__(self, *members: tuple[str, str]) -> None:
        super().__init__(*members)
        self.gate = asyncio.Event()
        self.reached = asyncio.Event()
        self.seen_context: object = "not asked"

    async def lookup(self, user_id: str, tenant_id: str) -> Membership | None:
        answer = await super().lookup(user_id, tenant_id)
        self.seen_context = current_context()
        self.reached.set()
        await self.gate.wait()
        return answer


class Failing(Directory):
    """A directory that can be switched off."""

    failure: Exception | None = None

    async def lookup(self, user_id: str, tenant_id: str) -> Membership | None:
        answer = await super().lookup(user_id, tenant_id)
        if self.failure is not None:
            raise self.failure
        return answer


def cached(inner: Directory, *, max_entries: int = 100) -> tuple[CachedMemberships, MovedClock]:
    """Cache *inner* under a clock of its own."""
    clock = MovedClock()
    cache = CachedMemberships(
        inner, max_entries=max_entries, ttl=TTL, negative_ttl=NEGATIVE_TTL, clock=clock
    )
    return cache, clock
