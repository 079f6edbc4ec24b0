"""RFC 6749 section 6, RFC 9700 section 4.14 and RFC 7009, by clause."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from asgi_guard._internal.responses import problem_body
from asgi_guard.errors import RefreshRefusedError
from asgi_guard.observability import subscribe
from tests.support.exchange import Events
from tests.support.refresh_world import DAY, World, refused


@pytest.fixture
def events() -> Iterator[Events]:
    sink = Events()
    unsubscribe = subscribe(sink)
    yield sink
    unsubscribe()


async def test_rfc6749_s6_the_token_is_bound_to_the_client_it_was_issued_to(
    events: Events,
) -> None:
    """It says: "the refresh token is bound to the client to which it was issued"."""
    world = World()

    assert await refused(world.refresh(await world.login(), client_id="x"), events) == (
        "refresh_client_foreign"
    )


async def test_rfc6749_s6_scope_must_not_include_any_not_originally_granted() -> None:
    """If omitted, it is treated as equal to what was granted."""
    world = World()
    grant = await world.login()

    with pytest.raises(RefreshRefusedError) as caught:
        await world.refresh(grant, scopes=["admin"])
    assert caught.value.code == "invalid_scope"
    assert (await world.refresh(grant)).scopes == grant.scopes


async def test_rfc6749_s6_a_new_refresh_token_has_the_scope_of_the_old_one() -> None:
    """It says: "scope MUST be identical to that of the refresh token included by the client"."""
    world = World()
    narrowed = await world.refresh(await world.login(), scopes=["notes:read"])

    assert (await world.refresh(narrowed)).scopes == {"notes:read", "notes:write"}


async def test_rfc6749_s5_2_every_other_refusal_is_invalid_grant_with_400() -> None:
    """Invalid, expired, revoked, issued to another client: one answer."""
    world = World()
    grant = await world.login()
    attempts = [
        world.tokens.refresh("garbage", client_id="web"),
        world.refresh(grant, client_id="x"),
        world.refresh(grant, tenant_id="globex"),
    ]
    bodies = set()
    for attempt in attempts:
        with pytest.raises(RefreshRefusedError) as caught:
            await attempt
        bodies.add(problem_body(caught.value, "r"))

    ((status, body),) = bodies
    assert status == 400
    assert b'"code":"invalid_grant"' in body


async def test_rfc9700_s4_14_2_refresh_tokens_are_sender_constrained_or_rotated() -> None:
    """Both here: rotation always, the key when there is one."""
    world = World()
    grant = await world.login(jkt="thumb")

    assert (await world.refresh(grant, jkt="thumb")).token.jti != grant.token.jti


async def test_rfc9700_s4_14_2_reuse_revokes_the_active_token_and_access(events: Events) -> None:
    """It says: "it will revoke the active refresh token"."""
    world = World(grace=0)
    old = await world.login()
    active = await world.refresh(old)

    assert await refused(world.refresh(old), events) == "refresh_reused"
    assert await refused(world.refresh(active), events) == "refresh_reused"


async def test_rfc9700_s4_14_2_they_expire_when_unused_for_some_time(events: Events) -> None:
    """Fourteen days here."""
    world = World()
    grant = await world.login()
    world.clock.time += 15 * DAY

    assert await refused(world.refresh(grant), events) == "token_expired"


async def test_rfc9700_s4_14_2_a_password_change_or_logout_may_revoke_them(
    events: Events,
) -> None:
    """All of a user, from the moment on."""
    world = World()
    grant = await world.login()

    await world.tokens.revoke_user("alice")

    assert await refused(world.refresh(grant), events) == "refresh_user_revoked"


async def test_rfc7009_s2_2_an_invalid_token_is_no_error() -> None:
    """It says: "invalid tokens do not cause an error response"."""
    assert not await World().tokens.revoke("garbage", client_id="web")
