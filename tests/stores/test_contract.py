"""One contract for all stores: what a session, a nonce or a replay cache relies on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgi_guard._internal.memory_store import MAX_TTL_SECONDS, MemoryStore, StoreReplayCache
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import KeyValueStore, ReplayCache
from tests.support import store_contract
from tests.support.headers_clock import MovedClock
from tests.support.store_kinds import CarelessStore


async def test_any_bytes_come_back_as_they_were(store: KeyValueStore) -> None:
    """A sealed value has every byte in it; a key may hold every visible character."""
    assert isinstance(store, KeyValueStore)
    await store_contract.values(store)


async def test_what_has_ended_is_not_there(store: KeyValueStore, clock: MovedClock) -> None:
    """Half a second before its end it is; at its end it is not, for any method."""
    await store_contract.endings(store, clock)


@pytest.mark.parametrize("race", store_contract.RACES)
async def test_of_many_callers_at_once_one_wins(store: KeyValueStore, race: str) -> None:
    """A ticket that two callers may take is no ticket."""
    await store_contract.one_winner(store, race)


async def test_of_many_callers_one_gets_the_place_of_what_has_ended(
    store: KeyValueStore, clock: MovedClock
) -> None:
    """A nonce that may be used again after its time is used once again, not twelve times."""
    await store_contract.one_winner_of_what_has_ended(store, clock)


@pytest.mark.parametrize("race", store_contract.RACES)
async def test_control_a_store_that_looks_before_it_writes_is_found_out(race: str) -> None:
    """Negative control: the same check, on a store that is not atomic."""
    if race == "delete":
        race = "take"
    with pytest.raises(AssertionError, match="of 12 won"):
        await store_contract.one_winner(CarelessStore(MemoryStore()), race)


BAD: list[tuple[Any, Any, float]] = [
    ("", b"", 1),
    ("k" * 251, b"", 1),
    ("a b", b"", 1),
    ("a\n", b"", 1),
    ("a\x00", b"", 1),
    ("é", b"", 1),
    (b"bytes", b"", 1),
    ("k", b"x" * 65_537, 1),
    ("k", "text", 1),
    ("k", None, 1),
    ("k", b"", 0),
    ("k", b"", -1),
    ("k", b"", float("nan")),
    ("k", b"", float("inf")),
    ("k", b"", MAX_TTL_SECONDS + 1),
]


async def test_what_one_store_could_not_hold_is_refused_by_all(store: KeyValueStore) -> None:
    """Else an app breaks on the day it moves from one store to the next."""
    for key, value, ttl in BAD:
        calls = [
            store.put(key, value, ttl=ttl),
            store.put_if_absent(key, value, ttl=ttl),
            store.replace(key, b"old", value, ttl=ttl),
        ]
        if key != "k":
            calls += [store.get(key), store.take(key), store.delete(key)]
            calls += [store.get_many(["good", key])]
        for call in calls:
            with pytest.raises(ConfigError, match="KeyValueStore"):
                await call


async def test_the_shortest_and_the_longest_life_are_held(store: KeyValueStore) -> None:
    """A ttl is what is left of something else, and may be next to nothing."""
    await store.put("long", b"1", ttl=MAX_TTL_SECONDS)
    await store.put("short", b"1", ttl=1e-9)

    assert await store.get("long") == b"1"


async def test_a_replay_is_noticed_until_its_time_is_over(
    store: KeyValueStore, clock: MovedClock
) -> None:
    """Any text is a key, also one that no store could hold; purposes do not meet."""
    cache: ReplayCache = StoreReplayCache(store, purpose="dpop")
    hostile = "\ud800 jti\n" * 1_000

    assert await cache.first_use(hostile, ttl=60)
    assert not await cache.first_use(hostile, ttl=60)
    assert await StoreReplayCache(store, purpose="ticket").first_use(hostile, ttl=60)
    clock.move(60)
    assert await cache.first_use(hostile, ttl=60)


async def test_callers_that_hang_up_leave_the_store_whole(store: KeyValueStore) -> None:
    """A cancelled call must not leave a connection open, nor its answer to the next caller."""
    await store.put("mine", b"mine", ttl=60)
    for _ in range(30):
        calls = [
            asyncio.create_task(store.take("other")),
            asyncio.create_task(store.put("other", b"other", ttl=60)),
            asyncio.create_task(store.get("other")),
        ]
        for _ in range(3):
            await asyncio.sleep(0)  # to various depths of the driver
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    assert await asyncio.gather(*(store.get("mine") for _ in range(20))) == [b"mine"] * 20


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["put", "absent", "replace", "take", "delete", "move"]),
            st.sampled_from("ab"),
            st.binary(max_size=2),
            st.integers(1, 4),
        ),
        max_size=40,
    )
)
async def test_the_memory_store_does_what_a_plain_table_would(
    steps: list[tuple[str, str, bytes, int]],
) -> None:
    """Its heap of endings is bookkeeping; it must never show."""
    clock = MovedClock()
    store, table = MemoryStore(max_entries=3, clock=clock), {}
    for what, key, value, ttl in steps:
        kept = table.get(key, (0.0, None))
        now = kept[1] if clock.elapsed < kept[0] else None
        if what == "move":
            clock.move(ttl)
        elif what in {"take", "delete"}:
            expected = now if what == "take" else now is not None
            assert await getattr(store, what)(key) == expected
            table.pop(key, None)
        else:
            wrote = {
                "put": True,
                "absent": now is None,
                "replace": now == value,
            }[what]
            if what == "put":
                await store.put(key, value, ttl=ttl)
            elif what == "absent":
                assert await store.put_if_absent(key, value, ttl=ttl) == wrote
            else:
                assert await store.replace(key, value, value, ttl=ttl) == wrote
            if wrote:
                table[key] = (clock.elapsed + ttl, value)
