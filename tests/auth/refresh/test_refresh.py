"""RefreshTokens: rotation, grace, bindings, revocation, and one event for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth.jose import TokenIssuer
from asgi_guard.auth.refresh import RefreshTokens
from asgi_guard.errors import (
    AuthenticationError,
    ConfigError,
    RefreshRefusedError,
    UnavailableError,
)
from asgi_guard.observability import subscribe
from tests.support.exchange import Events
from tests.support.jose_tokens import Signer, policy, signing_key, verifier
from tests.support.refresh_world import DAY, POLICY, InterruptedStore, World, refused
from tests.support.tenancy_world import MovedClock


@pytest.fixture
def events() -> Iterator[Events]:
    sink = Events()
    unsubscribe = subscribe(sink)
    yield sink
    unsubscribe()


@pytest.fixture
def world() -> World:
    return World()


async def test_each_refresh_gives_the_next_token_and_says_what_it_is_for(
    world: World, events: Events
) -> None:
    """The token endpoint issues the access token from it, and needs nothing else."""
    first = await world.login(jkt="thumb")
    world.clock.time += 600

    second = await world.refresh(first, jkt="thumb")

    assert second.token.jti != first.token.jti
    assert (second.subject, second.client_id, second.tenant_id) == ("alice", "web", "acme")
    assert (second.session_id, second.jkt, second.family) == ("s-1", "thumb", first.family)
    assert second.scopes == {"notes:read", "notes:write"}
    assert second.token.expires_at == int(world.clock.time) + 14 * DAY
    assert [event.name for event in events.seen] == ["REFRESH_STARTED", "REFRESH_ROTATED"]
    event = events.seen[1]
    assert (event.user_id, event.tenant_id, event.outcome) == ("alice", "acme", "allowed")
    assert event.details["kid"] == signing_key().kid
    assert event.details["jti_sha256"] == first.token.jti_sha256
    assert event.details["next_jti_sha256"] == second.token.jti_sha256
    assert event.session_id not in {None, "s-1"}


async def test_a_lost_reply_is_made_again_and_is_the_same_token(world: World) -> None:
    """A mobile client that lost the answer in a tunnel must not lose its session."""
    first = await world.login()
    second = await world.refresh(first)
    world.clock.time += 9

    again = await world.another().refresh(first)

    assert (again.token.jti, again.token.expires_at) == (second.token.jti, second.token.expires_at)
    assert (await world.refresh(again)).token.jti != second.token.jti


async def test_two_refreshes_at_once_get_one_successor(events: Events) -> None:
    """Two tabs wake up together: both go on with one token, and nobody is logged out."""
    clock = MovedClock()
    store = InterruptedStore(clock=clock)
    world = World(store, clock)
    first = await world.login()
    faster: list[Any] = []

    async def other_tab() -> None:
        faster.append(await world.another().refresh(first))

    store.meanwhile = other_tab
    slower = await world.refresh(first)

    assert slower.token.jti == faster[0].token.jti
    rotations = [event for event in events.seen if event.name == "REFRESH_ROTATED"]
    assert [event.details["lost_reply"] for event in rotations] == [False, True]


async def test_fewer_scopes_may_be_asked_for_and_come_back_at_the_next(
    world: World, events: Events
) -> None:
    """RFC 6749 section 6: the refresh token keeps the scope of the login."""
    grant = await world.login()

    narrow = await world.refresh(grant, scopes=["notes:read"])
    assert narrow.scopes == {"notes:read"}
    with pytest.raises(RefreshRefusedError) as caught:
        await world.refresh(narrow, scopes=["notes:read", "admin"])
    assert (caught.value.code, caught.value.status) == ("invalid_scope", 400)
    assert (await world.refresh(narrow)).scopes == {"notes:read", "notes:write"}


async def test_scopes_as_one_text_are_a_mistake_that_is_seen(world: World) -> None:
    """Its letters would each become a scope, and none of them be the one that was meant."""
    with pytest.raises(ConfigError, match="scopes"):
        await world.login(scopes="notes:read")
    with pytest.raises(ConfigError, match="scopes"):
        await world.refresh(await world.login(), scopes="notes:read")


async def test_nothing_is_refreshed_past_the_absolute_end(world: World, events: Events) -> None:
    """Thirty days after the login, however diligently it was refreshed."""
    grant = await world.login()
    end = grant.ends_at
    for _ in range(3):
        world.clock.time += 9 * DAY
        grant = await world.refresh(grant)

    assert grant.token.expires_at == int(end)
    world.clock.time = end + 1  # within the forgiven skew of the token itself
    assert await refused(world.refresh(grant), events) == "refresh_login_too_old"
    world.clock.time = end + 60
    assert await refused(world.refresh(grant), events) == "token_expired"


async def test_fourteen_days_unused_and_it_is_over(world: World, events: Events) -> None:
    """A device that was put away is logged in anew."""
    grant = await world.login()
    world.clock.time += 14 * DAY + 31

    assert await refused(world.refresh(grant), events) == "token_expired"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"client_id": "other"}, "refresh_client_foreign"),
        ({"tenant_id": "globex", "jkt": "thumb"}, "refresh_tenant_foreign"),
        ({"jkt": "another"}, "refresh_key_foreign"),
        ({"jkt": None}, "refresh_key_foreign"),
    ],
    ids=["client", "tenant", "key", "no key"],
)
async def test_in_other_hands_it_is_refused_and_its_owner_goes_on(
    changes: dict[str, Any], reason: str, world: World, events: Events
) -> None:
    """Ending the family would let whoever finds a token log its owner out."""
    grant = await world.login(jkt="thumb")

    where = {"client": "192.0.2.9", "request_id": "r-1"}
    assert await refused(world.refresh(grant, **changes, **where), events) == reason
    assert (events.seen[-1].client, events.seen[-1].request_id) == ("192.0.2.9", "r-1")
    assert await world.refresh(grant, jkt="thumb", tenant_id="acme")


async def test_a_session_a_user_and_a_family_can_be_ended(world: World, events: Events) -> None:
    """Log out here, log out everywhere, and what a support desk does."""
    here, there = await world.login(), await world.login(session_id="s-2")
    await world.tokens.revoke_session("s-1")
    assert await refused(world.another().refresh(here), events) == "refresh_session_revoked"
    there = await world.refresh(there)

    assert await world.tokens.revoke_family(there.family)
    assert not await world.tokens.revoke_family("unknown")
    assert await refused(world.refresh(there), events) == "refresh_family_revoked"

    older = await world.login(session_id=None)
    await world.tokens.revoke_user("alice")
    assert await refused(world.refresh(older), events) == "refresh_user_revoked"
    assert await world.refresh(await world.login(session_id=None)), "a new login is a new start"
    bob = await world.tokens.start("bob", client_id="web")
    assert await world.refresh(bob)
    revoked = [event for event in events.seen if event.name == "REFRESH_REVOKED"]
    assert len(revoked) == 4


async def test_a_login_after_the_users_end_works_to_its_own_end(world: World) -> None:
    """What ended the earlier ones must neither end nor be forgotten too soon for this one."""
    earlier = await world.login(session_id=None)
    await world.tokens.revoke_user("alice")
    later = await world.login(session_id=None)

    for _ in range(2):
        world.clock.time += 13 * DAY
        later = await world.refresh(later)
    world.clock.time = later.ends_at - 1

    assert await world.refresh(later)
    assert earlier.ends_at == later.ends_at


async def test_a_client_may_give_its_token_back(world: World, events: Events) -> None:
    """RFC 7009: an unknown or foreign token is no error, and ends nothing."""
    grant = await world.login()
    text = grant.token.token.reveal()

    assert not await world.tokens.revoke("garbage", client_id="web")
    assert not await world.tokens.revoke(text, client_id="other")
    assert await world.refresh(grant)
    again = await world.login()
    assert await world.tokens.revoke(again.token.token.reveal(), client_id="web")
    assert await refused(world.refresh(again), events) == "refresh_given_back"


async def test_access_tokens_end_with_their_family_session_and_user(world: World) -> None:
    """RFC 7009 section 2.1: the access tokens of the grant end as well."""
    one, two = await world.login(), await world.login(session_id="s-2")
    three = await world.login(session_id="s-3")
    tokens = [await world.access_token(each) for each in (one, two, three)]
    for token in tokens:
        await world.judge.verify(token)

    await world.tokens.revoke_family(one.family)
    await world.tokens.revoke_session("s-2")
    world.clock.time += 1
    await world.tokens.revoke_user("alice")

    for token in tokens:
        with pytest.raises(AuthenticationError) as caught:
            await world.judge.verify(token)
        assert caught.value.reason == "token_revoked"


class DeadStore(MemoryStore):
    """A store that ceases to answer."""

    dead = False

    async def get_many(self, keys: Any) -> Any:
        if self.dead:
            raise ConnectionError("password=hunter2")
        return await super().get_many(keys)


async def test_a_store_that_does_not_answer_refuses_nothing_for_good(events: Events) -> None:
    """503, one event, and the same token works when the store is back."""
    store = DeadStore(clock=MovedClock())
    world = World(store, MovedClock())
    grant = await world.login()
    store.dead = True

    with pytest.raises(UnavailableError):
        await world.refresh(grant)
    store.dead = False

    assert await world.refresh(grant)
    event = events.seen[1]
    assert (event.name, event.outcome) == ("REFRESH_REFUSED", "error")
    assert "hunter2" not in repr(event)


async def test_a_record_that_somebody_has_written_into_decides_nothing(world: World) -> None:
    """Neither let in, nor logged out: the operator is told."""
    grant = await world.login()
    key = next(iter(world.store._entries))  # type: ignore[attr-defined]
    for value in (b"", b"[]", b"{}", b'{"scopes": 1}', b"\xff"):
        await world.store.put(key, value, ttl=60)
        with pytest.raises(UnavailableError):
            await world.refresh(grant)


@pytest.mark.parametrize(
    "change",
    [{"store": object()}, {"store": MemoryStore}, {"grace": 61}, {"grace": -1}, {"absolute": 0},
     {"absolute": 31 * DAY}, {"verifier": verifier()}],
    ids=["object", "class", "long grace", "negative", "no time", "too long", "other policy"],
)  # fmt: skip
def test_bad_settings_are_refused_when_built(change: dict[str, Any]) -> None:
    """A grace of an hour is no rotation at all."""
    issuer = TokenIssuer(POLICY, keys=Signer(signing_key(), 40 * DAY))
    good: dict[str, Any] = {"store": MemoryStore(), "verifier": verifier(policy=POLICY)}
    settings = {**good, **change}

    with pytest.raises(ConfigError):
        RefreshTokens(settings.pop("store"), issuer=issuer, **settings)


def test_an_issuer_without_refresh_tokens_is_refused() -> None:
    """At start-up, not at the first login."""
    plain = policy(algorithms=("ES256",))
    issuer = TokenIssuer(plain, keys=Signer(signing_key()))

    with pytest.raises(ConfigError, match="refresh"):
        RefreshTokens(MemoryStore(), issuer=issuer, verifier=verifier(policy=plain))
