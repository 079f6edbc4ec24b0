"""Attacks on sessions that others have suffered: fixation, tossing, replay, guessing, swapping."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from asgi_guard._internal.principal import SCOPE_KEY
from asgi_guard.auth.sessions import (
    SessionAuthenticator,
    TicketAuthenticator,
    WebSocketBearer,
    WebSocketTickets,
)
from asgi_guard.errors import AuthenticationError
from asgi_guard.protocols import Principal
from asgi_guard.tenancy import HeaderResolver
from tests.support.exchange import ask, handshake, http_scope, websocket_scope
from tests.support.passwords_people import listening
from tests.support.sessions_served import OWN, Bearer, cookie_of, guarded, protected, whoami
from tests.support.sessions_world import alive, world
from tests.support.tenancy_world import ACME, GLOBEX, Directory

EVIL = "https://evil.example"


async def test_an_id_that_an_attacker_chose_never_becomes_a_session() -> None:
    """Session fixation (CWE-384): whatever the browser brings to the login, it leaves with new."""
    made = world()
    chosen = secrets.token_urlsafe(32)
    attackers = await made.login(user_id="mallory")

    for planted in (chosen, attackers.sid.reveal()):
        victims = await made.login(replaces=planted)

        assert victims.sid.reveal() != planted
        assert not await alive(made.sessions, planted)
        assert (await made.sessions.judge(victims.sid)).user_id == "alice"


async def test_an_id_seen_before_the_rights_grew_is_worth_nothing_after() -> None:
    """Fixation by another way: the attacker knows the id of the session before its step up."""
    made = world()
    seen = await made.login(roles=["guest"])

    await made.sessions.renew(seen.sid, roles=["admin"])

    assert not await alive(made.sessions, seen.sid)


async def test_a_copied_cookie_is_dead_after_the_logout() -> None:
    """A logout that only clears the cookie leaves the thief signed in (OWASP WSTG-SESS-06)."""
    made = world()
    issued = await made.login()
    app = guarded(made, whoami)
    stolen = {"cookie": cookie_of(issued)}
    assert (await ask(app, http_scope(headers=stolen))).status == 200

    await made.sessions.terminate(issued.sid)

    assert (await ask(app, http_scope(headers=stolen))).status == 401


@pytest.mark.parametrize("order", ["first", "last"])
async def test_a_cookie_tossed_in_beside_ours_is_refused(order: str) -> None:
    """Which of two a parser takes is a coin toss; the attacker's own session must not win it."""
    made = world()
    victim, attacker = await made.login(), await made.login(user_id="mallory")
    pair = [cookie_of(victim), cookie_of(attacker)]
    cookies = "; ".join(pair if order == "first" else pair[::-1])
    app = protected(whoami, SessionAuthenticator(made.sessions))

    together = await ask(app, http_scope(headers={"cookie": cookies}))
    apart = await ask(app, http_scope(headers=[("cookie", pair[0]), ("cookie", pair[1])]))
    alone = await ask(app, http_scope(headers={"cookie": pair[0]}))

    assert (together.status, apart.status) == (401, 401)
    assert alone.body.startswith(b"alice"), "control: one of them alone is good"


async def test_the_name_of_a_session_opens_none() -> None:
    """Lists, logs, tables and contexts hold the hash; a look-up by it must find nothing."""
    made = world()
    issued = await made.login()
    with listening() as events:
        await made.sessions.extend(issued.sid)

    (event,) = events.seen
    for known in (issued.session.session_id, event.session_id, *made.store.keys):
        assert not await alive(made.sessions, known)
        assert not await alive(made.sessions, known[:43])
        assert await made.sessions.terminate(known[:43]) is False
    assert await alive(made.sessions, issued.sid)


async def test_guesses_ask_for_hashes_and_open_nothing() -> None:
    """No prefix, case or neighbour of a sid is any nearer to it."""
    made = world()
    sid = (await made.login()).sid.reveal()
    made.store.keys.clear()
    guesses = [
        sid.swapcase(),
        sid[::-1],
        sid[1:] + sid[0],
        sid[:-1] + "A",
        secrets.token_urlsafe(32),
    ]

    for guess in {*guesses} - {sid}:
        assert not await alive(made.sessions, guess)

    assert not any(guess[:12] in key for guess in guesses for key in made.store.keys)


async def test_a_session_of_one_tenant_is_none_in_another() -> None:
    """The request names a tenant, the session another: the answer is that of an unknown one."""
    made = world()
    members = Directory(("alice", ACME), ("alice", GLOBEX))
    issued = await made.login(tenant_id=ACME)
    app = guarded(made, whoami, resolver=HeaderResolver("x-tenant-id"), memberships=members)
    cookie = {"cookie": cookie_of(issued)}

    answers = [
        (await ask(app, http_scope(headers={**cookie, "x-tenant-id": tenant}))).status
        for tenant in (ACME, GLOBEX)
    ]

    assert answers == [200, 404]


async def test_kept_data_of_one_tenant_is_not_read_in_another() -> None:
    """Also by whoever can name the other's place in the store."""
    made = world()
    acme = await made.login()
    await made.sessions.persist(acme.sid, {"plan": "secret"}, version=0)
    moved = await made.sessions.switch_tenant(acme.sid, tenant_id=GLOBEX)
    record = (await made.sessions._live(moved.session.session_id)).record
    (kept,) = [key for key in made.store.keys if key.startswith("session-state:")]
    raw = await made.store.get(kept)
    assert raw is not None

    from asgi_guard.auth.sessions.states import _key  # noqa: PLC0415 - the attacker's reach

    await made.store.put(_key(record), raw, ttl=60)

    with pytest.raises(Exception, match="malformed"):
        await made.sessions.load(moved.sid)


def page(*offered: str, origin: str = OWN) -> dict[str, Any]:
    return {
        **websocket_scope("/", {"origin": origin}, scheme="wss"),
        "subprotocols": list(offered),
    }


async def test_a_ticket_is_used_once_whoever_comes_first() -> None:
    """Of a ticket that was copied, one copy works; in every order, as the store decides."""
    made = world()
    tickets = WebSocketTickets(made.store, clock=made.clock)
    alice = {**http_scope("POST", headers={"origin": OWN}), SCOPE_KEY: Principal(user_id="alice")}
    app = protected(whoami, TicketAuthenticator(tickets))
    ticket = (await tickets.issue(alice)).ticket.reveal()

    answers = [await handshake(app, page("ticket", ticket)) for _ in range(3)]

    assert [each.sent[0]["type"] for each in answers] == [
        "websocket.accept",
        "websocket.http.response.start",
        "websocket.http.response.start",
    ]


async def test_a_ticket_serves_only_the_page_that_fetched_it_and_a_wrong_try_burns_it() -> None:
    """A friend's page that got hold of it is still another page."""
    made = world()
    tickets = WebSocketTickets(made.store, clock=made.clock)
    alice = {**http_scope("POST", headers={"origin": OWN}), SCOPE_KEY: Principal(user_id="alice")}
    ticket = (await tickets.issue(alice)).ticket

    with pytest.raises(AuthenticationError) as refused:
        await tickets.redeem(ticket, page(origin=EVIL))
    with pytest.raises(AuthenticationError) as burned:
        await tickets.redeem(ticket, page(origin=OWN))

    assert [refused.value.reason, burned.value.reason] == [
        "ticket_of_another_origin",
        "ticket_unknown",
    ]


async def test_a_ticket_of_one_tenant_opens_no_socket_of_another() -> None:
    """It carries its tenant, which must agree with the one that the handshake names."""
    made = world()
    members = Directory(("alice", ACME), ("alice", GLOBEX))
    tickets = WebSocketTickets(made.store, clock=made.clock)
    principal = Principal(user_id="alice", tenant_id=ACME)
    asked = {**http_scope("POST", headers={"origin": OWN}), SCOPE_KEY: principal}
    app = guarded(
        made,
        whoami,
        TicketAuthenticator(tickets),
        resolver=HeaderResolver("x-tenant-id"),
        memberships=members,
    )

    for tenant, kind in ((GLOBEX, "websocket.http.response.start"), (ACME, "websocket.accept")):
        ticket = (await tickets.issue(asked)).ticket.reveal()
        headers = {"origin": OWN, "x-tenant-id": tenant}
        scope = {
            **websocket_scope("/", headers, scheme="wss"),
            "subprotocols": ["ticket", ticket],
        }
        assert (await handshake(app, scope)).sent[0]["type"] == kind


async def test_a_session_id_is_no_ticket_and_a_ticket_no_session() -> None:
    """Two kinds of credential with one shape must not stand in for each other."""
    made = world()
    issued = await made.login()
    tickets = WebSocketTickets(made.store, sessions=made.sessions, clock=made.clock)
    asked = {**http_scope("POST", headers={"origin": OWN}), SCOPE_KEY: issued.session.principal()}
    ticket = (await tickets.issue(asked)).ticket

    assert not await alive(made.sessions, ticket)
    with pytest.raises(AuthenticationError):
        await tickets.redeem(issued.sid, page())


async def test_a_token_that_is_offered_is_not_handed_on() -> None:
    """Peers leave it in ``scope["subprotocols"]``, and frameworks log or select it."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append({key: value for key, value in scope.items() if key != "user"})
        await receive()
        await send({"type": "websocket.accept"})

    token = "secret.token.of-alice"
    bearer = Bearer(Principal(user_id="alice"), token=token)
    scope = page("bearer", token)
    scope["headers"].append((b"sec-websocket-protocol", f"bearer, {token}".encode()))

    answer = await handshake(protected(app, WebSocketBearer(bearer)), scope)

    assert token not in repr(seen)
    assert token not in repr(answer.sent)
    assert answer.sent[0]["subprotocol"] == "bearer"
