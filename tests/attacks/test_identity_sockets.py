"""A WebSocket that outlives its credential: the thief's token is revoked, and he listens on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth import AuthenticationMiddleware, BearerAuthenticator, ThrottledAuthenticator
from asgi_guard.auth.api_keys import APIKeyAuthenticator
from asgi_guard.auth.dpop import DPoPAuthenticator
from asgi_guard.auth.jose import KeySet, TokenRevocations, TokenVerifier
from asgi_guard.auth.sessions import TicketAuthenticator, WebSocketBearer, WebSocketTickets
from asgi_guard.auth.throttle import Throttle
from asgi_guard.errors import AuthenticationError
from asgi_guard.protocols import Authenticator, Principal
from tests.support import api_keys_world, dpop_world
from tests.support.exchange import http_scope, websocket_scope
from tests.support.jose_tokens import access_claims, made, policy, signing_key, verifier
from tests.support.sessions_served import HandTicker, whoami
from tests.support.tenancy_calls import Socket
from tests.support.tenancy_world import MovedClock

CLOSED = {"type": "websocket.close", "code": 4401, "reason": ""}
TOKEN = made(access_claims(sid="s-1"))


class Server:
    """One process whose tokens another one, on the same store, can revoke."""

    def __init__(self) -> None:
        self.clock, self.ticker = MovedClock(), HandTicker()
        self.store = MemoryStore(clock=self.clock)
        self.keys = KeySet([signing_key().public])
        self.judge = self._judge()

    def elsewhere(self) -> TokenRevocations:
        return TokenRevocations(self.store, policy=policy(), clock=self.clock)

    def _judge(self) -> TokenVerifier:
        return verifier(clock=self.clock, revocations=self.elsewhere(), source=self.keys)


@pytest.fixture
def server() -> Server:
    return Server()


@asynccontextmanager
async def listening(
    authenticator: Authenticator, headers: dict[str, str], path: str = "/"
) -> AsyncIterator[Socket]:
    app = AuthenticationMiddleware(whoami, authenticators=[authenticator])
    async with Socket(app, path, headers) as socket:
        assert (await socket.next())["type"] == "websocket.accept"
        assert (await socket.next())["text"].startswith("alice")
        yield socket


@pytest.mark.parametrize("throttled", [False, True], ids=["plain", "throttled"])
async def test_a_socket_closes_when_its_bearer_token_is_revoked_in_another_process(
    server: Server,
    throttled: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Log out everywhere, and the thief's socket goes on for as long as his token would have."""
    guard: Authenticator = BearerAuthenticator(server.judge, socket_ticker=server.ticker)
    if throttled:
        guard = ThrottledAuthenticator(guard, throttle=Throttle())
    async with listening(guard, {"authorization": f"Bearer {TOKEN.decode()}"}) as socket:
        socket.say("still mine")
        assert (await socket.next())["text"] == "still mine"
        await server.elsewhere().revoke_session("s-1")
        server.clock.time += 3
        server.ticker.strike()

        assert await socket.next() == CLOSED


async def test_a_socket_closes_when_the_key_of_its_token_is_taken_away(server: Server) -> None:
    """A stolen signing key is revoked; what was signed with it must stop."""
    plain = BearerAuthenticator(server.judge, socket_ticker=server.ticker)
    async with listening(plain, {"authorization": f"Bearer {TOKEN.decode()}"}) as socket:
        server.judge._keys = KeySet([signing_key(number=7).public])
        server.ticker.strike()

        assert await socket.next() == CLOSED


async def test_a_socket_opened_by_a_subprotocol_closes_as_well(server: Server) -> None:
    """What a browser uses is the way that most sockets are opened."""
    inner = BearerAuthenticator(server.judge, socket_ticker=server.ticker)
    app = AuthenticationMiddleware(whoami, authenticators=[WebSocketBearer(inner)])
    scope = {**websocket_scope("/", {}), "subprotocols": ["bearer", TOKEN.decode()]}
    socket = Socket(lambda _, receive, send: app(scope, receive, send))
    async with socket:
        assert (await socket.next())["subprotocol"] == "bearer"
        await socket.next()
        await server.elsewhere().revoke_token("t-1")
        server.clock.time += 3
        server.ticker.strike()

        assert await socket.next() == CLOSED


async def test_a_socket_closes_when_its_dpop_token_is_revoked(server: Server) -> None:
    """A proof is checked once, at the handshake."""
    token = dpop_world.bound_token(sid="s-1")
    guard = DPoPAuthenticator(
        server.judge,
        validator=dpop_world.validator(clock=server.clock),
        socket_ticker=server.ticker,
    )
    headers = {
        "authorization": f"DPoP {token.decode()}",
        "dpop": dpop_world.proof(token=token).decode(),
    }
    async with listening(guard, headers, dpop_world.PATH) as socket:
        await server.elsewhere().revoke_session("s-1")
        server.clock.time += 3
        server.ticker.strike()

        assert await socket.next() == CLOSED


async def test_a_socket_closes_when_its_api_key_is_revoked(server: Server) -> None:
    """Revoked everywhere in under five seconds, also where it has a socket open."""
    keys = api_keys_world.service(clock=server.clock)
    issued = await api_keys_world.make(keys)
    other = api_keys_world.service(keys._store, clock=server.clock)
    guard = APIKeyAuthenticator(other, socket_ticker=server.ticker)
    async with listening(guard, {"x-api-key": issued.key.reveal()}) as socket:
        assert max(server.ticker.asked) + 3.0 < 5.0, "with the time an answer is believed"
        await keys.revoke(issued.record.key_id, tenant_id=issued.record.tenant_id)
        server.clock.time += 3
        server.ticker.strike()

        assert await socket.next() == CLOSED


def ticketed(server: Server, **options: Any) -> WebSocketTickets:
    return WebSocketTickets(server.store, clock=server.clock, **options)


async def principal_in(server: Server) -> dict[str, Any]:
    scope = http_scope("POST", headers={"authorization": f"Bearer {TOKEN.decode()}"})
    principal = await BearerAuthenticator(server.judge).authenticate(scope)
    assert isinstance(principal, Principal)
    return {**scope, "asgi_guard.principal": principal}


async def test_a_ticket_of_a_token_that_was_revoked_meanwhile_opens_nothing(
    server: Server,
) -> None:
    """Fetched a moment before the logout, a ticket must not outlast it."""
    tickets = ticketed(server, revocations=server.elsewhere())
    issued = await tickets.issue(await principal_in(server))
    await server.elsewhere().revoke_session("s-1")

    with pytest.raises(AuthenticationError) as refused:
        await tickets.redeem(issued.ticket, websocket_scope("/", {}))

    assert refused.value.reason == "token_revoked"


async def test_a_socket_of_a_ticket_closes_when_the_token_behind_it_is_revoked(
    server: Server,
) -> None:
    """The ticket stands for the token, to its end."""
    tickets = ticketed(server, revocations=server.elsewhere(), socket_ticker=server.ticker)
    issued = await tickets.issue(await principal_in(server))
    app = AuthenticationMiddleware(whoami, authenticators=[TicketAuthenticator(tickets)])
    offered = ["ticket", issued.ticket.reveal()]
    scope = {**websocket_scope("/", {}), "subprotocols": offered}
    socket = Socket(lambda _, receive, send: app(scope, receive, send))
    async with socket:
        await socket.next()
        await socket.next()
        await server.elsewhere().revoke_session("s-1")
        server.clock.time += 3
        server.ticker.strike()

        assert await socket.next() == CLOSED


async def test_control_nothing_revoked_and_the_socket_stays_open(server: Server) -> None:
    """Negative control: a check as such closes nothing."""
    plain = BearerAuthenticator(server.judge, socket_ticker=server.ticker)
    async with listening(plain, {"authorization": f"Bearer {TOKEN.decode()}"}) as socket:
        server.clock.time += 3
        server.ticker.strike()
        socket.say("still mine")

        assert (await socket.next())["text"] == "still mine"
