"""Invalidation: what was revoked is gone at once, also against a look-up that is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from asgi_guard.tenancy import CachedMemberships
from tests.support.tenancy_directories import Gated, cached
from tests.support.tenancy_world import ACME, GLOBEX, Directory

INVALIDATIONS: dict[str, Callable[[CachedMemberships], None]] = {
    "both": lambda cache: cache.invalidate(user_id="alice", tenant_id=ACME),
    "user": lambda cache: cache.invalidate(user_id="alice"),
    "tenant": lambda cache: cache.invalidate(tenant_id=ACME),
    "all": lambda cache: cache.invalidate(),
}


@pytest.mark.parametrize("invalidate", INVALIDATIONS.values(), ids=INVALIDATIONS)
async def test_an_invalidated_membership_is_gone_at_once(
    invalidate: Callable[[CachedMemberships], None],
) -> None:
    """Firing someone should not take half a minute."""
    directory = Directory(("alice", ACME))
    cache, _clock = cached(directory)
    await cache.lookup("alice", ACME)
    del directory.members["alice", ACME]

    invalidate(cache)

    assert await cache.lookup("alice", ACME) is None


@pytest.mark.parametrize(
    ("which", "asked_again"),
    [
        ("both", [("alice", ACME)]),
        ("user", [("alice", ACME), ("alice", GLOBEX)]),
        ("tenant", [("alice", ACME), ("bob", ACME)]),
        ("all", [("alice", ACME), ("alice", GLOBEX), ("bob", ACME), ("bob", GLOBEX)]),
    ],
)
async def test_invalidation_forgets_what_was_named_and_nothing_else(
    which: str, asked_again: list[tuple[str, str]]
) -> None:
    """Forgetting all at each change would be an outage of its own."""
    pairs = [(user, tenant) for user in ("alice", "bob") for tenant in (ACME, GLOBEX)]
    directory = Directory(*pairs)
    cache, _clock = cached(directory)
    for pair in pairs:
        await cache.lookup(*pair)
    directory.asked.clear()

    INVALIDATIONS[which](cache)
    for pair in pairs:
        await cache.lookup(*pair)

    assert directory.asked == asked_again


@pytest.mark.parametrize("invalidate", INVALIDATIONS.values(), ids=INVALIDATIONS)
async def test_a_look_up_under_way_does_not_bring_back_what_was_invalidated(
    invalidate: Callable[[CachedMemberships], None],
) -> None:
    """The classic race: read the old row, revoke, invalidate, then store the old answer."""
    directory = Gated(("alice", ACME))
    cache, _clock = cached(directory)
    before = asyncio.create_task(cache.lookup("alice", ACME))
    await directory.reached.wait()
    del directory.members["alice", ACME]
    invalidate(cache)

    after = asyncio.create_task(cache.lookup("alice", ACME))
    await asyncio.sleep(0)
    directory.gate.set()

    assert await before is not None  # it was asked for before the change
    assert await after is None
    assert await cache.lookup("alice", ACME) is None
