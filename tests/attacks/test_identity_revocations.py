"""Revoked things that come alive again: by a clock, by a setting, by a store that fails halfway."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth.api_keys import MemoryAPIKeyStore
from asgi_guard.auth.jose import (
    DualAlgorithmVerifier,
    KeySet,
    TokenRevocations,
    TokenVerifier,
    VerificationKey,
)
from asgi_guard.auth.refresh import RefreshTokens
from asgi_guard.errors import ConfigError, RefreshRefusedError, UnavailableError
from asgi_guard.observability import subscribe
from tests.support import api_keys_world
from tests.support.exchange import Events
from tests.support.jose_tokens import NOW, access_claims, made, policy, reason, verifier
from tests.support.refresh_world import POLICY, World
from tests.support.tenancy_world import MovedClock

SECRET = "an old secret that every service has had for years"


def revocations(store: Any, clock: MovedClock, **changes: Any) -> TokenRevocations:
    return TokenRevocations(store, policy=changes.pop("policy", policy()), clock=clock, **changes)


async def test_a_second_logout_by_a_clock_that_is_behind_brings_nothing_back() -> None:
    """Two servers, twenty seconds apart; the user presses "log out everywhere" twice."""
    ahead, behind = MovedClock(), MovedClock()
    behind.time -= 20
    store = MemoryStore(clock=ahead)
    stolen = made(access_claims(iat=NOW - 5, exp=NOW + 300))

    await revocations(store, ahead).revoke_user("alice")
    await revocations(store, behind).revoke_user("alice")

    judge = verifier(clock=ahead, revocations=revocations(store, ahead))
    assert await reason(stolen, judge) == "token_revoked"


def test_revocations_that_are_forgotten_before_the_token_ends_are_refused() -> None:
    """Made of the policy of another service, an entry ends and the stolen token works again."""
    store, clock = MemoryStore(), MovedClock()
    brief = revocations(store, clock, policy=policy(access_lifetime=60))

    with pytest.raises(ConfigError, match="forgotten"):
        verifier(policy=policy(access_lifetime=3600), revocations=brief)
    with pytest.raises(ConfigError, match="forgotten"):
        verifier(policy=policy(insecure_any_lifetime=True), revocations=brief)


def test_revocations_of_another_issuer_are_refused() -> None:
    """They are kept under the issuer's name: none of ours would ever be found."""
    other = revocations(MemoryStore(), MovedClock(), policy=policy(issuer="https://other.example"))

    with pytest.raises(ConfigError, match="issuer"):
        verifier(revocations=other)
    world = World()
    with pytest.raises(ConfigError, match="issuer"):
        RefreshTokens(world.store, issuer=world.issuer, verifier=world.judge, access=other)


@pytest.mark.parametrize("wrong", [MemoryStore(), TokenRevocations, object()], ids=type)
def test_what_is_no_list_of_revocations_is_refused_at_start_up(wrong: Any) -> None:
    """Else every request finds out, one 503 at a time."""
    with pytest.raises(ConfigError):
        verifier(revocations=wrong)


def legacy(**changes: Any) -> TokenVerifier:
    return TokenVerifier(
        changes.pop("policy", policy(algorithms=("HS256",))),
        keys=KeySet([VerificationKey(SECRET, algorithm="HS256")]),
        **changes,
    )


def test_the_legacy_side_must_know_what_was_revoked() -> None:
    """A downgrade: the user is logged out everywhere, and the thief shows the old kind of token."""
    ends = revocations(MemoryStore(), MovedClock())

    with pytest.raises(ConfigError, match="revo"):
        DualAlgorithmVerifier(
            current=verifier(revocations=ends), legacy=legacy(), until=NOW + 60, clock=MovedClock()
        )
    DualAlgorithmVerifier(
        current=verifier(revocations=ends),
        legacy=legacy(revocations=ends),
        until=NOW + 60,
        clock=MovedClock(),
    )


def test_the_legacy_side_must_judge_the_same_kinds_of_token() -> None:
    """Else whoever writes HS256 into a header pages the operator with each request."""
    refresh_only = legacy(policy=policy(algorithms=("HS256",), types=("refresh",)))

    with pytest.raises(ConfigError, match="access"):
        DualAlgorithmVerifier(
            current=verifier(), legacy=refresh_only, until=NOW + 60, clock=MovedClock()
        )


class Failing(MemoryStore):
    """A store in which the writes named in *fails* fail, as many times as it says there."""

    fails = ""
    times = 0

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        self._maybe(key)
        await super().put(key, value, ttl=ttl)

    async def put_if_absent(self, key: str, value: bytes, *, ttl: float) -> bool:
        self._maybe(key)
        return await super().put_if_absent(key, value, ttl=ttl)

    def _maybe(self, key: str) -> None:
        if self.fails and key.startswith(self.fails) and self.times:
            self.times -= 1
            raise UnavailableError("store_unreachable")


@pytest.mark.parametrize("fails", ["revoked:", "refresh:family"])
async def test_a_family_found_reused_while_the_store_fails_ends_whole_at_the_next_try(
    fails: str,
) -> None:
    """Half ended, the family would be closed and the thief's access tokens open."""
    clock = MovedClock()
    store = Failing(clock=clock)
    world = World(store, clock)
    grant = await world.login()
    await world.refresh(grant)
    token = await world.access_token(grant)
    clock.time += 60
    store.fails, store.times = fails, 1

    with pytest.raises(UnavailableError):
        await world.refresh(grant)
    with pytest.raises(RefreshRefusedError):
        await world.refresh(grant)

    assert await reason(token, World(store, clock).judge) == "token_revoked"


class Rude(MemoryStore):
    """A store of somebody's own, whose client's errors get out."""

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        raise ConnectionError("no route")


async def test_a_store_whose_own_errors_get_out_is_one_that_does_not_answer() -> None:
    """A `Fetch` or store is the user's; an app that calls the verifier expects two errors."""
    judge = verifier(revocations=revocations(Rude(), MovedClock()))

    with pytest.raises(UnavailableError, match="revocations_unreachable"):
        await judge.verify(made())


class Truncating(MemoryStore):
    """A store that leaves out what it has not, as many clients' "get many" do."""

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        return [each for each in await super().get_many(keys) if each is not None]


async def test_a_store_that_leaves_out_what_it_has_not_opens_nothing() -> None:
    """An answer of another length says nothing about which key it is for."""
    clock = MovedClock()
    judge = verifier(clock=clock, revocations=revocations(Truncating(clock=clock), clock))

    with pytest.raises(UnavailableError):
        await judge.verify(made())


def test_the_policy_of_these_tests_has_access_tokens() -> None:
    """Guards the tests above against a policy under which they would prove nothing."""
    assert "access" in POLICY.types


class Hanging(MemoryStore):
    """A store that does not come back from its next exchange, once told so."""

    hangs = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.written = asyncio.Event()

    async def replace(self, key: str, old: bytes, new: bytes, *, ttl: float) -> bool:
        done = await super().replace(key, old, new, ttl=ttl)
        if self.hangs:
            self.written.set()
            await asyncio.Event().wait()
        return done


async def test_a_client_that_hangs_up_in_the_middle_of_a_refresh_leaves_one_event() -> None:
    """The token was rotated; whoever cut the line at that moment must not have done so unseen."""
    clock = MovedClock()
    store = Hanging(clock=clock)
    world = World(store, clock)
    grant = await world.login()
    events = Events()
    unsubscribe = subscribe(events)
    store.hangs = True

    task = asyncio.ensure_future(world.refresh(grant))
    await asyncio.wait_for(store.written.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    unsubscribe()

    assert [(each.name, each.outcome, each.reason) for each in events.seen] == [
        ("REFRESH_REFUSED", "error", "interrupted")
    ]
    store.hangs = False
    assert await world.refresh(grant), "the reply was lost, and is made again"


class Stalled(MemoryStore):
    """A store that answers nothing."""

    async def get(self, key: str) -> bytes | None:
        await asyncio.Event().wait()
        raise AssertionError


class StalledKeys(MemoryAPIKeyStore):
    """The same, of API keys."""

    async def revoke(self, key_id: str, tenant_id: str, *, at: float) -> bool:
        await asyncio.Event().wait()
        raise AssertionError


@pytest.mark.parametrize("what", ["token", "api key"])
async def test_a_revocation_whose_caller_hung_up_leaves_one_event(what: str) -> None:
    """It may have happened or not: that is what somebody has to look into."""
    events = Events()
    unsubscribe = subscribe(events)
    work: Coroutine[Any, Any, object]
    if what == "token":
        work = revocations(Stalled(), MovedClock()).revoke_token("t-1")
    else:
        work = api_keys_world.service(StalledKeys()).revoke("k-1", tenant_id="acme")

    task = asyncio.ensure_future(work)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    unsubscribe()
    assert [(each.outcome, each.reason) for each in events.seen] == [("error", "interrupted")]
