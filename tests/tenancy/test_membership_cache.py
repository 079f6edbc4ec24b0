"""CachedMemberships: bounded in size and time, shared per key, and never a stale yes."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.tenancy import CachedMemberships, Membership, Status, use_context
from tests.support.tenancy_directories import NEGATIVE_TTL, TTL, Failing, Gated, cached
from tests.support.tenancy_world import ACME, GLOBEX, Directory, context


async def test_a_membership_is_asked_for_once_until_it_has_aged() -> None:
    """To the moment: at its ttl it is expired."""
    directory = Directory(("alice", ACME))
    cache, clock = cached(directory)

    await cache.lookup("alice", ACME)
    clock.time += TTL - 0.01
    await cache.lookup("alice", ACME)
    assert len(directory.asked) == 1

    clock.time += 0.01
    await cache.lookup("alice", ACME)
    assert len(directory.asked) == 2


@pytest.mark.parametrize("member", [None, Status.SUSPENDED, Status.DELETED])
async def test_a_refusal_is_remembered_for_a_shorter_time(member: Status | None) -> None:
    """Someone who was just invited, or let back in, should not wait."""
    directory = Directory()
    if member is not None:
        directory.put("alice", ACME, member=member)
    cache, clock = cached(directory)

    await cache.lookup("alice", ACME)
    clock.time += NEGATIVE_TTL - 0.01
    await cache.lookup("alice", ACME)
    assert len(directory.asked) == 1

    directory.put("alice", ACME)
    clock.time += 0.01
    answer = await cache.lookup("alice", ACME)
    assert answer is not None
    assert answer.active


async def test_an_answer_ages_from_before_it_was_asked_for() -> None:
    """A look-up that took long is as old as its beginning: that is when it was true."""
    directory = Gated(("alice", ACME))
    cache, clock = cached(directory)
    first = asyncio.create_task(cache.lookup("alice", ACME))
    await directory.reached.wait()

    clock.time += TTL
    directory.gate.set()
    await first
    await cache.lookup("alice", ACME)

    assert len(directory.asked) == 2


async def test_an_outage_serves_what_is_fresh_and_refuses_what_has_expired() -> None:
    """Stale-if-error is right for pictures and wrong for permissions."""
    directory = Failing(("alice", ACME))
    cache, clock = cached(directory)
    await cache.lookup("alice", ACME)
    directory.failure = OSError("SELECT secret FROM memberships")

    clock.time += TTL / 2
    assert await cache.lookup("alice", ACME) is not None

    clock.time += TTL / 2
    with pytest.raises(UnavailableError) as caught:
        await cache.lookup("alice", ACME)
    assert "SELECT" not in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)


async def test_a_failure_is_not_remembered() -> None:
    """The next request asks again, and is served once the database is back."""
    directory = Failing(("alice", ACME))
    cache, _clock = cached(directory)
    directory.failure = UnavailableError("pool_exhausted")
    with pytest.raises(UnavailableError, match="pool_exhausted"):
        await cache.lookup("alice", ACME)

    directory.failure = None

    assert await cache.lookup("alice", ACME) is not None


async def test_an_answer_that_is_no_membership_is_a_failure() -> None:
    """A truthy dict or True would otherwise be taken for a yes somewhere."""
    directory = Directory()
    directory.members["alice", ACME] = True  # type: ignore[assignment]
    cache, _clock = cached(directory)

    with pytest.raises(UnavailableError, match="malformed"):
        await cache.lookup("alice", ACME)


async def test_callers_at_once_share_one_look_up_and_the_first_may_hang_up() -> None:
    """A cold cache under load, and a client that closes its connection."""
    directory = Gated(("alice", ACME))
    cache, _clock = cached(directory)
    first = asyncio.create_task(cache.lookup("alice", ACME))
    await directory.reached.wait()
    rest = [asyncio.create_task(cache.lookup("alice", ACME)) for _ in range(9)]
    await asyncio.sleep(0)

    first.cancel()
    directory.gate.set()
    answers = await asyncio.gather(*rest)

    assert len(directory.asked) == 1
    assert all(answer is not None for answer in answers)
    assert first.cancelled()


@pytest.mark.parametrize("failure", [OSError(), UnavailableError("pool_exhausted")], ids=repr)
async def test_a_failure_reaches_every_caller_that_waited(failure: Exception) -> None:
    """Each with an error of its own: tracebacks are not shared between requests."""
    directory = Failing(("alice", ACME))
    directory.failure = failure
    cache, _clock = cached(directory)

    outcomes = await asyncio.gather(
        *(cache.lookup("alice", ACME) for _ in range(3)), return_exceptions=True
    )

    assert [type(outcome) for outcome in outcomes] == [UnavailableError] * 3
    assert len({id(outcome) for outcome in outcomes}) == 3


async def test_a_shared_look_up_runs_as_nobody() -> None:
    """It answers several callers, so it must not run as the one who came first."""
    directory = Gated(("alice", ACME))
    directory.gate.set()
    cache, _clock = cached(directory)

    with use_context(context(GLOBEX)):
        await cache.lookup("alice", ACME)

    assert directory.seen_context is None


async def test_different_keys_do_not_wait_for_each_other() -> None:
    """One slow look-up must not hold up every tenant."""
    directory = Gated(("alice", ACME))
    cache, _clock = cached(directory)
    first = asyncio.create_task(cache.lookup("alice", ACME))
    second = asyncio.create_task(cache.lookup("bob", ACME))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert directory.asked == [("alice", ACME), ("bob", ACME)]
    directory.gate.set()
    await asyncio.gather(first, second)


async def test_the_least_recently_used_goes_first() -> None:
    """The bound is a bound, and does not evict who is active right now."""
    directory = Directory(("a", ACME), ("b", ACME), ("c", ACME))
    cache, _clock = cached(directory, max_entries=2)
    for user in ("a", "b", "a", "c"):
        await cache.lookup(user, ACME)
    directory.asked.clear()

    await cache.lookup("a", ACME)
    await cache.lookup("b", ACME)

    assert directory.asked == [("b", ACME)]


async def test_a_flood_of_guesses_evicts_no_membership_and_stays_bounded() -> None:
    """Any signed-in user can name tenants by the thousand."""
    directory = Directory(("alice", ACME))
    cache, _clock = cached(directory, max_entries=10)
    await cache.lookup("alice", ACME)

    for number in range(1000):
        await cache.lookup("mallory", f"guess-{number}")
    directory.asked.clear()
    await cache.lookup("alice", ACME)

    assert directory.asked == []
    assert len(cache._granted) + len(cache._refused) == 11
    assert cache._flights == {}
    assert cache._running == set()


async def test_a_revoked_membership_leaves_one_entry_not_two() -> None:
    """An old yes next to a newer no would come back when the no expires first."""
    directory = Directory(("alice", ACME))
    cache, clock = cached(directory)
    await cache.lookup("alice", ACME)
    clock.time += TTL
    directory.put("alice", ACME, member=Status.SUSPENDED)
    await cache.lookup("alice", ACME)

    assert len(cache._granted) == 0
    assert len(cache._refused) == 1


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_no_two_pairs_are_taken_for_one(member: tuple[str, str], stranger: tuple[str, str]) -> None:
    """A key joined by a separator lets a user id with the separator in it be somebody else."""

    async def ask() -> Membership | None:
        cache, _clock = cached(Directory(member))
        await cache.lookup(*member)
        return await cache.lookup(*stranger)

    answer = asyncio.run(ask())

    assert (answer is not None) is (member == stranger)


def test_a_loop_that_died_with_a_look_up_under_way_holds_nobody_up() -> None:
    """Test clients and reloaders run one loop after the other."""
    directory = Gated(("alice", ACME))
    cache, _clock = cached(directory)

    async def abandoned() -> None:
        task = asyncio.ensure_future(cache.lookup("alice", ACME))
        await directory.reached.wait()
        task.cancel()

    async def later() -> Membership | None:
        directory.gate = asyncio.Event()
        directory.gate.set()
        return await cache.lookup("alice", ACME)

    asyncio.run(abandoned())

    assert asyncio.run(later()) is not None


@pytest.mark.parametrize("name", ["max_entries", "ttl", "negative_ttl"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_bound_that_bounds_nothing_is_refused(name: str, value: float) -> None:
    """Found at start-up."""
    with pytest.raises(ConfigError, match=name):
        CachedMemberships(Directory(), **{name: value})  # type: ignore[arg-type]
