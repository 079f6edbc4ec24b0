"""A WebSocket that outlives its credential: the thief's token is revoked, and he listens on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth import AuthenticationMiddleware, BearerAuthenticator, ThrottledAuthenticator
from asgi_guard.auth.api_keys import APIKeyAuthenticator
from asgi_guard.auth.dpop import DPoPAuthenticator
from asgi_guard.auth.jose import (
    DualAlgorithmVerifier,
    KeySet,
    TokenRevocations,
    TokenVerifier,
    VerificationKey,
)
from asgi_guard.auth.sessions import TicketAuthenticator, WebSocketBearer, WebSocketTickets
from asgi_guard.auth.socket_lease import SocketLease, serve_leased
from asgi_guard.auth.throttle import Throttle
from asgi_guard.errors import AuthenticationError
from asgi_guard.protocols import Authenticator, Principal, Receive, Scope, Send
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


class Slow:
    """A credential that ends in this process, on a store that takes its time to say so."""

    def __init__(self) -> None:
        self.asked = 0
        self.stalled = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()
        self.ended = False
        self.wake: Callable[[], None] = lambda: None

    async def check(self, _heard: bool) -> None:  # noqa: FBT001 - the lease's own signature
        self.asked += 1
        if not self.answers.is_set():
            self.stalled.set()
        await self.answers.wait()
        if self.ended:
            raise AuthenticationError("session_terminated")

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        self.wake = wake
        return lambda: None

    def lease(self) -> SocketLease:
        return SocketLease(check=self.check, subscribe=self.subscribe, ticker=HandTicker())


async def test_nothing_is_said_or_heard_while_a_slow_store_is_asked_about_a_logout() -> None:
    """The watch asks, and takes its time; what passes meanwhile passes after the logout."""
    credential, sent = Slow(), asyncio.Queue[Any]()
    incoming = asyncio.Queue[Any]()
    speak = asyncio.Event()

    async def feed(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await speak.wait()
        with suppress(OSError):
            await send({"type": "websocket.send", "text": "rows of after the logout"})

    scope = websocket_scope("/", {})
    serving = asyncio.create_task(
        serve_leased(credential.lease(), feed, scope, incoming.get, sent.put)
    )
    assert (await sent.get())["type"] == "websocket.accept"
    credential.answers.clear()
    credential.ended = True
    credential.wake()
    await credential.stalled.wait()  # the watch is asking
    speak.set()
    for _ in range(20):
        await asyncio.sleep(0)
    credential.answers.set()
    await serving

    assert [sent.get_nowait() for _ in range(sent.qsize())] == [CLOSED]


async def test_control_a_store_that_is_slow_about_a_living_session_costs_time_alone() -> None:
    """Negative control: what was held back goes out once the session is found alive."""
    credential, sent = Slow(), asyncio.Queue[Any]()
    speak = asyncio.Event()

    async def feed(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await speak.wait()
        await send({"type": "websocket.send", "text": "still here"})

    scope = websocket_scope("/", {})
    waiting = asyncio.Queue[Any]()
    serving = asyncio.create_task(
        serve_leased(credential.lease(), feed, scope, waiting.get, sent.put)
    )
    await sent.get()
    credential.answers.clear()
    credential.wake()
    await credential.stalled.wait()
    speak.set()
    credential.answers.set()
    await serving

    assert (await sent.get())["text"] == "still here"


async def test_proofs_go_with_the_tokens_of_both_sides_of_a_migration(server: Server) -> None:
    """Else an app that binds tokens could not leave HS256, or would do so without an end."""
    secret = VerificationKey("s" * 32, algorithm="HS256")
    both = DualAlgorithmVerifier(
        current=server.judge,
        legacy=verifier(
            policy=policy(algorithms=("HS256",)),
            source=KeySet([secret]),
            revocations=server.elsewhere(),
            clock=server.clock,
        ),
        until=server.clock.time + 60,
        clock=server.clock,
    )
    guard = DPoPAuthenticator(both, validator=dpop_world.validator(clock=server.clock))
    token = dpop_world.bound_token()
    scope = dpop_world.request(dpop_world.proof(token=token), token=token)

    principal = await guard.authenticate(scope)

    assert principal is not None
    assert principal.auth_method == "dpop"
    with pytest.raises(AuthenticationError) as replayed:
        await guard.authenticate(scope)
    assert replayed.value.reason == "proof_replayed"
