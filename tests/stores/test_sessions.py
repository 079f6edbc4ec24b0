"""Sessions on every store that the package has: the same life, the same races, no sid inside."""

from __future__ import annotations

import asyncio

import pytest

from asgi_guard.auth.sessions import IssuedSession, WebSocketTickets
from asgi_guard.errors import AuthenticationError, ConflictError
from asgi_guard.protocols import KeyValueStore
from tests.support.headers_clock import MovedClock
from tests.support.passwords_people import listening
from tests.support.sessions_world import World, alive, world
from tests.support.tenancy_world import ACME, GLOBEX

_RACERS = 8


@pytest.fixture
def made(store: KeyValueStore, clock: MovedClock) -> World:
    return world(store, clock=clock)


async def test_the_life_of_a_session(made: World) -> None:
    """Made, used, renewed, moved, kept with, ended; and nothing of it is a sid."""
    issued = await made.login(roles=["r"], claims={"org": {"id": 1}})
    made.clock.move(61)
    assert (await made.sessions.validate(issued.sid)).claims == {"org": {"id": 1}}
    renewed = await made.sessions.renew(issued.sid, roles=["admin"])
    assert not await alive(made.sessions, issued.sid)
    assert (await made.sessions.persist(renewed.sid, {"n": 1}, version=0)).version == 1
    with pytest.raises(ConflictError):
        await made.sessions.persist(renewed.sid, {"n": 2}, version=0)
    moved = await made.sessions.switch_tenant(renewed.sid, tenant_id=GLOBEX)
    assert (await made.sessions.load(moved.sid)).version == 0
    other = await made.login(tenant_id=GLOBEX)
    listed = await made.sessions.list_sessions(user_id="alice", tenant_id=GLOBEX)
    assert [each.session_id for each in listed] == [
        moved.session.session_id,
        other.session.session_id,
    ]
    await made.sessions.terminate_all(
        user_id="alice", tenant_id=GLOBEX, keep=moved.session.session_id
    )
    assert [await alive(made.sessions, x.sid) for x in (moved, other)] == [True, False]
    assert await made.sessions.terminate(issued.sid), "it follows the browser's session"
    assert await made.sessions.terminate(moved.sid) is False
    written = b"\n".join(made.store.values)
    for each in (issued, renewed, moved, other):
        assert each.sid.reveal().encode() not in written


async def test_idle_and_absolute_ends_hold(made: World) -> None:
    """Whatever the store's own idea of an end is."""
    issued = await made.login()
    made.clock.move(899)
    await made.sessions.extend(issued.sid)
    made.clock.move(899)
    assert await alive(made.sessions, issued.sid)
    made.clock.move(901)
    assert not await alive(made.sessions, issued.sid)


async def test_of_many_renewals_at_once_one_wins(made: World) -> None:
    """On a real server, with real round trips between look and write."""
    issued = await made.login()
    with listening():
        results = await asyncio.gather(
            *(made.sessions.renew(issued.sid) for _ in range(_RACERS)), return_exceptions=True
        )

    won = [each for each in results if isinstance(each, IssuedSession)]
    assert len(won) == 1
    assert sum(isinstance(each, AuthenticationError) for each in results) == _RACERS - 1
    assert await alive(made.sessions, won[0].sid)


async def test_uses_at_the_moment_of_the_end_bring_nothing_back(made: World) -> None:
    """Every touch writes; none may write over the end."""
    issued = [await made.login() for _ in range(_RACERS)]
    made.clock.move(60)
    with listening():
        await asyncio.gather(
            *(made.sessions.judge(each.sid) for each in issued),
            made.sessions.terminate_all(tenant_id=ACME),
            *(made.sessions.terminate(each.sid) for each in issued),
            *(made.sessions.extend(each.sid) for each in issued),
            return_exceptions=True,
        )

    assert not any([await alive(made.sessions, each.sid) for each in issued])


async def test_logins_at_once_are_all_listed(made: World) -> None:
    """A list that loses one hides a thief."""
    await asyncio.gather(*(made.login() for _ in range(_RACERS)))

    listed = await made.sessions.list_sessions(user_id="alice", tenant_id=ACME)
    assert len(listed) == _RACERS


async def test_of_many_that_redeem_a_ticket_one_wins(made: World, clock: MovedClock) -> None:
    """Single use, also when the copies arrive together."""
    issued = await made.login()
    tickets = WebSocketTickets(made.store, sessions=made.sessions, clock=clock)
    scope = {
        "type": "websocket",
        "headers": [],
        "asgi_guard.principal": issued.session.principal(),
    }
    ticket = (await tickets.issue(scope)).ticket

    with listening():
        results = await asyncio.gather(
            *(tickets.redeem(ticket, dict(scope)) for _ in range(_RACERS)), return_exceptions=True
        )

    assert sum(not isinstance(each, Exception) for each in results) == 1
