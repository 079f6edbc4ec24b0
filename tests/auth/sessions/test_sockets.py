"""WebSocket sign-in by cookie, token and ticket, and the end of a socket with its credential."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import pytest

from asgi_guard._internal.principal import SCOPE_KEY
from asgi_guard.auth.sessions import (
    SessionAuthenticator,
    SessionService,
    TicketAuthenticator,
    WebSocketBearer,
    WebSocketTickets,
)
from asgi_guard.errors import AuthenticationError, ConfigError, UnavailableError
from asgi_guard.protocols import Principal, Receive, Scope, Send
from tests.support.exchange import handshake, http_scope, websocket_scope
from tests.support.passwords_people import listening
from tests.support.sessions_served import (
    OWN,
    Bearer,
    HandTicker,
    cookie_of,
    guarded,
    protected,
    whoami,
)
from tests.support.sessions_world import World, world
from tests.support.tenancy_calls import Socket
from tests.support.tenancy_world import ACME

CLOSED = {"type": "websocket.close", "code": 4401, "reason": ""}
ALICE = Principal(user_id="alice", tenant_id=ACME, auth_method="bearer")
HOME = {"origin": OWN}


def offering(*protocols: str, path: str = "/", **headers: str) -> dict[str, Any]:
    """Build the handshake of a page that offers *protocols*."""
    pairs = {"origin": OWN, **headers}
    if protocols:
        pairs["sec-websocket-protocol"] = ", ".join(protocols)
    return {**websocket_scope(path, pairs, scheme="wss"), "subprotocols": list(protocols)}


@pytest.fixture
def ticker() -> HandTicker:
    return HandTicker()


@pytest.fixture
def made(ticker: HandTicker) -> World:
    plain = world()
    plain.sessions = SessionService(
        plain.store, memberships=plain.members, clock=plain.clock, ticker=ticker
    )
    return plain


def browser(made: World, issued: Any, app: Any = whoami) -> Socket:
    """Open a WebSocket with the session cookie, through a guard."""
    return Socket(guarded(made, app), "/", {**HOME, "cookie": cookie_of(issued)})


async def opened(socket: Socket) -> str:
    assert (await socket.next())["type"] == "websocket.accept"
    return str((await socket.next())["text"])


async def heard_back(socket: Socket, text: str) -> bool:
    socket.say(text)
    return bool((await socket.next()).get("text") == text)


async def test_a_socket_has_the_context_of_a_request(made: World) -> None:
    """One identity, whatever the transport."""
    async with browser(made, await made.login()) as socket:
        assert await opened(socket) == f"alice {ACME} []"
        assert await heard_back(socket, "hello")


async def test_a_logout_with_the_old_sid_closes_the_sockets_of_the_new_one(made: World) -> None:
    """One tab raised the rights and opened a socket; the other, behind, logs out."""
    issued = await made.login()
    renewed = await made.sessions.renew(issued.sid)
    async with browser(made, renewed) as socket:
        await opened(socket)

        await made.sessions.terminate(issued.sid)

        assert await socket.next() == CLOSED
    assert await made.sessions._index.listed(("alice", ACME)) == []


@pytest.mark.parametrize("how", ["logout", "renewal", "by_id", "all", "tenant", "login"])
async def test_a_session_that_ends_here_closes_its_sockets_at_once(made: World, how: str) -> None:
    """A logout ends what the page still has open, without waiting for a check."""
    issued, other = await made.login(), await made.login(user_id="bob")
    async with browser(made, issued) as socket, browser(made, other) as bystander:
        await opened(socket)
        await opened(bystander)

        await _end(made, issued, how)

        assert await socket.next() == CLOSED
        assert (await socket.next())["type"] == "app.returned"
        if how != "tenant":
            assert await heard_back(bystander, "still here")


async def _end(made: World, issued: Any, how: str) -> None:
    sessions = made.sessions
    if how == "logout":
        await sessions.terminate(issued.sid)
    elif how == "renewal":
        await sessions.renew(issued.sid)
    elif how == "by_id":
        await sessions.terminate_by_id(issued.session.session_id, user_id="alice", tenant_id=ACME)
    elif how == "all":
        await sessions.terminate_all(user_id="alice", tenant_id=ACME)
    elif how == "tenant":
        await sessions.terminate_all(tenant_id=ACME)
    else:
        await made.login(replaces=issued.sid)


async def test_a_session_that_another_process_ended_closes_its_sockets_at_the_next_check(
    made: World, ticker: HandTicker
) -> None:
    """Within `check_sockets_every` seconds, and not before anybody looked."""
    issued = await made.login()
    elsewhere = SessionService(made.store, clock=made.clock)
    async with browser(made, issued) as socket:
        await opened(socket)
        await elsewhere.terminate(issued.sid)
        assert await heard_back(socket, "nobody has looked yet")

        ticker.strike()

        assert await socket.next() == CLOSED
    assert ticker.asked[0] == 10.0


async def test_a_check_leaves_the_socket_of_a_live_session_alone(
    made: World, ticker: HandTicker
) -> None:
    """Control: it is the end of the session that closes."""
    async with browser(made, await made.login()) as socket:
        await opened(socket)
        for _ in range(3):
            ticker.strike()
            await asyncio.sleep(0)
        assert await heard_back(socket, "hello")


@pytest.mark.parametrize("speaks", [True, False], ids=["speaks", "silent"])
async def test_what_the_client_says_is_use_and_an_open_socket_is_none(
    made: World, ticker: HandTicker, *, speaks: bool
) -> None:
    """A forgotten tab must not keep a session alive for twelve hours; a chat must."""
    async with browser(made, await made.login()) as socket:
        await opened(socket)
        for _ in range(2):
            made.clock.move(500)
            if speaks:
                assert await heard_back(socket, "typing")
            ticker.strike()
            for _ in range(20):
                await asyncio.sleep(0)
        if speaks:
            assert await heard_back(socket, "hello")
        else:
            assert await socket.next() == CLOSED


async def test_the_absolute_end_is_not_waited_for_longer_than_needed(
    made: World, ticker: HandTicker
) -> None:
    """The last pause before the end is as long as what is left."""
    issued = await made.login()
    for _ in range(71):
        made.clock.move(600)
        await made.sessions.extend(issued.sid)
    made.clock.move(597)
    async with browser(made, issued) as socket:
        await opened(socket)
        await asyncio.sleep(0)
        assert ticker.asked == [3.0]


async def test_a_store_that_cannot_say_closes_with_try_again_later(
    made: World, ticker: HandTicker
) -> None:
    """The bound on revocation is kept by closing, not by hoping."""
    async with browser(made, await made.login()) as socket:
        await opened(socket)
        made.store.broken = UnavailableError("down")
        with listening() as events:
            ticker.strike()
            assert (await socket.next())["code"] == 1013

    assert [(each.name, each.outcome) for each in events.seen] == [("SOCKET_CLOSED", "error")]


async def test_after_the_end_the_app_hears_and_says_nothing_more(made: World) -> None:
    """A feed that only sends must stop as well, and its clean-up must run."""
    seen: list[Any] = []
    issued = await made.login()

    async def feed(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await made.sessions.terminate(issued.sid)
        seen.append(await receive())
        for _ in range(2):
            try:
                await send({"type": "websocket.send", "text": "somebody's data"})
            except OSError:
                seen.append("refused")
        await send({"type": "websocket.close", "code": 1000})

    with listening() as events:
        async with browser(made, issued, feed) as socket:
            await socket.next()
            assert await socket.next() == CLOSED

    assert [message["type"] for message in socket.sent] == ["websocket.accept", "websocket.close"]
    assert seen == [
        {"type": "websocket.disconnect", "code": 4401, "reason": ""},
        "refused",
        "refused",
    ]
    assert [(e.name, e.reason, e.user_id) for e in events.seen if e.name == "SOCKET_CLOSED"] == [
        ("SOCKET_CLOSED", "session_unknown", "alice")
    ]


async def test_what_the_app_raises_arrives_as_it_is(made: World) -> None:
    """Layers outside answer by type; a group around it would be a 500."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise LookupError("app")

    authenticator = SessionAuthenticator(made.sessions)
    scope = websocket_scope("/", {**HOME, "cookie": cookie_of(await made.login())}, scheme="wss")

    with pytest.raises(LookupError, match="app"):
        await handshake(protected(broken, authenticator), scope)
    assert made.sessions.wakeups._watches == {}


async def test_a_token_as_subprotocol_signs_in_and_its_name_is_selected() -> None:
    """All that a page can send with ``new WebSocket``; browsers fail if nothing is selected."""
    app = protected(whoami, WebSocketBearer(Bearer(ALICE)))

    answer = await handshake(app, offering("bearer", "alices.token"))

    assert answer.sent[0] == {"type": "websocket.accept", "subprotocol": "bearer"}
    assert answer.sent[1]["text"] == "alice - []", "the token is gone from the scope"


async def test_the_apps_own_subprotocol_wins_and_the_token_is_never_selected() -> None:
    """A server that selects ``offered[0]`` would send the token back in a header."""
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope["subprotocols"], dict(scope["headers"])))
        await receive()
        await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][0]})

    guarded_app = protected(app, WebSocketBearer(Bearer(ALICE)))
    answer = await handshake(guarded_app, offering("bearer", "alices.token", "graphql-ws"))

    assert answer.sent[0]["subprotocol"] == "graphql-ws"
    assert seen[0][0] == ["graphql-ws"]
    assert seen[0][1][b"sec-websocket-protocol"] == b"graphql-ws"
    assert "alices.token" not in repr(seen)


@pytest.mark.parametrize(
    "protocols",
    [
        ("bearer",),
        ("chat", "bearer"),
        ("bearer", "wrong"),
        ("bearer", "alices.token", "bearer", "alices.token"),
        ("bearer", "bad token"),
        ("bearer", ""),
    ],
)
async def test_an_offer_that_proves_nothing_is_refused(protocols: tuple[str, ...]) -> None:
    """It is a credential, and it is not acceptable: never nobody's socket."""
    app = protected(whoami, WebSocketBearer(Bearer(ALICE)))

    assert (await handshake(app, offering(*protocols))).status == 401


async def test_a_token_and_an_authorization_header_are_two_credentials() -> None:
    """Which one an inner layer believes cannot be known."""
    app = protected(whoami, WebSocketBearer(Bearer(ALICE)))

    scope = offering("bearer", "alices.token", authorization="Bearer alices.token")
    assert (await handshake(app, scope)).status == 401


async def test_a_header_signs_a_native_client_in_with_the_authenticator_itself() -> None:
    """Programs set headers; nothing special is needed for them."""
    app = protected(whoami, WebSocketBearer(Bearer(ALICE)), Bearer(ALICE))

    answer = await handshake(app, offering(authorization="Bearer alices.token"))

    assert answer.sent[0] == {"type": "websocket.accept"}


async def test_the_query_string_signs_in_only_by_name() -> None:
    """Servers, proxies and histories write addresses down."""
    scope = {**offering(), "query_string": b"access_token=alices.token&page=2"}
    by_option = WebSocketBearer(Bearer(ALICE), insecure_token_in_query=True)

    ignored = await handshake(protected(whoami, WebSocketBearer(Bearer(ALICE))), dict(scope))
    taken = await handshake(protected(whoami, by_option), dict(scope))
    twice = {**offering(), "query_string": b"access_token=a&access_token=alices.token"}
    both = {**offering("bearer", "alices.token"), "query_string": scope["query_string"]}

    assert ignored.sent[1]["text"].startswith("nobody")
    assert taken.sent[1]["text"].startswith("alice")
    assert (await handshake(protected(whoami, by_option), twice)).status == 401
    assert (await handshake(protected(whoami, by_option), both)).status == 401


async def test_over_http_a_subprotocol_is_nothing() -> None:
    """Only a handshake has them."""
    scope = http_scope(headers={"sec-websocket-protocol": "bearer, alices.token"})

    assert await WebSocketBearer(Bearer(ALICE)).authenticate(scope) is None


def signed_in(principal: Principal | None, **headers: str) -> dict[str, Any]:
    return {**http_scope("POST", "/ticket", {**HOME, **headers}), SCOPE_KEY: principal}


async def test_a_ticket_opens_one_socket_for_who_fetched_it(made: World) -> None:
    """With the user, tenant and session of the page, and closed when that session ends."""
    issued = await made.login()
    tickets = WebSocketTickets(made.store, sessions=made.sessions, clock=made.clock)
    ticket = (await tickets.issue(signed_in(issued.session.principal()))).ticket.reveal()
    app = guarded(made, whoami, TicketAuthenticator(tickets))

    async with _Offer(app, "/", HOME) as socket:
        socket.protocols = ["ticket", ticket]
        accepted = await socket.start()
        assert accepted == {"type": "websocket.accept", "subprotocol": "ticket"}
        assert (await socket.next())["text"] == f"alice {ACME} []"
        await made.sessions.terminate(issued.sid)
        assert await socket.next() == CLOSED

    assert (await handshake(app, offering("ticket", ticket))).status == 401


class _Offer(Socket):
    """A client that offers subprotocols."""

    protocols: list[str]

    async def __aenter__(self) -> Self:
        self._incoming = asyncio.Queue()
        self._outgoing = asyncio.Queue()
        self._incoming.put_nowait({"type": "websocket.connect"})
        return self

    async def start(self) -> Any:
        self._task = asyncio.create_task(self._serve(offering(*self.protocols)))
        return await self.next()


@pytest.mark.parametrize("auth_method", ["bearer", "api_key"])
async def test_a_ticket_keeps_everything_of_a_principal_without_a_session(
    made: World, auth_method: str
) -> None:
    """A ticket must not turn an API key into something that may do more."""
    principal = Principal(
        user_id="robot",
        tenant_id=ACME,
        roles=frozenset({"r"}),
        scopes=frozenset({"s"}),
        auth_method=auth_method,
        expires_at=made.clock.now() + 60,
        claims={"org": {"ids": (1, 2)}},
        details={"kid": "k"},
    )
    tickets = WebSocketTickets(made.store, clock=made.clock)
    issued = await tickets.issue(signed_in(principal))

    assert await tickets.redeem(issued.ticket, offering()) == principal


async def test_a_ticket_is_late_after_thirty_seconds_or_with_its_credential(made: World) -> None:
    """Whoever finds one in a log is late."""
    tickets = WebSocketTickets(made.store, clock=made.clock)
    ending = Principal(user_id="robot", expires_at=made.clock.now() + 20)
    first, second = await tickets.issue(signed_in(ALICE)), await tickets.issue(signed_in(ending))
    assert first.expires_in == 30.0

    made.clock.move(20)
    with pytest.raises(AuthenticationError, match="unauthenticated"):
        await tickets.redeem(second.ticket, offering())
    made.clock.move(10)
    with pytest.raises(AuthenticationError) as refused:
        await tickets.redeem(first.ticket, offering())

    assert refused.value.reason in {"ticket_unknown", "ticket_late"}


async def test_a_ticket_of_a_session_that_ended_opens_nothing(made: World) -> None:
    """Thirty seconds are long enough for a logout."""
    issued = await made.login()
    tickets = WebSocketTickets(made.store, sessions=made.sessions, clock=made.clock)
    ticket = await tickets.issue(signed_in(issued.session.principal()))
    await made.sessions.terminate_all(user_id="alice")

    with pytest.raises(AuthenticationError) as refused:
        await tickets.redeem(ticket.ticket, offering())

    assert refused.value.reason == "session_terminated"


async def test_tickets_are_for_the_signed_in(made: World) -> None:
    """And a session's need somebody who can look the session up."""
    issued = await made.login()
    tickets = WebSocketTickets(made.store, clock=made.clock)

    with pytest.raises(AuthenticationError):
        await tickets.issue(signed_in(None))
    with pytest.raises(ConfigError):
        await tickets.issue(signed_in(issued.session.principal()))
    with pytest.raises(ConfigError):
        await tickets.issue(signed_in(Principal(user_id="u", claims={"f": object()})))
    with pytest.raises(ConfigError):
        WebSocketTickets(made.store, expires_in=600)


async def test_a_ticket_in_the_query_is_taken_only_by_name(made: World) -> None:
    """The same rule as for tokens; and it is single-use there as well."""
    tickets = WebSocketTickets(made.store, clock=made.clock)
    ticket = (await tickets.issue(signed_in(ALICE))).ticket.reveal()
    scope = {**offering(), "query_string": f"ticket={ticket}".encode()}
    by_name = TicketAuthenticator(tickets, insecure_ticket_in_query=True)

    ignored = await handshake(protected(whoami, TicketAuthenticator(tickets)), dict(scope))
    taken = await handshake(protected(whoami, by_name), dict(scope))
    again = await handshake(protected(whoami, by_name), dict(scope))

    assert ignored.sent[1]["text"].startswith("nobody")
    assert (taken.sent[0], again.status) == ({"type": "websocket.accept"}, 401)


async def test_a_socket_inside_a_bearer_offer_still_ends_with_its_session(made: World) -> None:
    """A wrapper around an authenticator must not lose the watch that it set up."""
    issued = await made.login()

    class ByToken:
        async def authenticate(self, scope: Scope) -> Principal | None:
            cookie = [(b"cookie", cookie_of(issued).encode())]
            inner = {**scope, "headers": [*scope["headers"], *cookie]}
            principal = await SessionAuthenticator(made.sessions).authenticate(inner)
            scope.update({key: inner[key] for key in inner if key.startswith("asgi_guard.")})
            return principal

    app = protected(whoami, WebSocketBearer(ByToken()))
    async with _Offer(app, "/", HOME) as socket:
        socket.protocols = ["bearer", "any"]
        assert (await socket.start())["subprotocol"] == "bearer"
        await socket.next()
        await made.sessions.terminate(issued.sid)
        assert await socket.next() == CLOSED
