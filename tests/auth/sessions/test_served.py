"""Sockets on a real uvicorn with a real client: what is on the wire, and how it is closed."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from asgi_guard import current_context
from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth.sessions import (
    SessionCookie,
    SessionService,
    TicketAuthenticator,
    WebSocketBearer,
    WebSocketTickets,
)
from asgi_guard.protocols import Principal
from tests.support.sessions_served import Bearer, cookie_of, guarded, served
from tests.support.sessions_world import World
from tests.support.tenancy_world import ACME, Directory

# uvicorn offers three implementations; the first one is deprecated by its own library.
SERVERS = ["websockets-sansio", "wsproto"]


def app_of(sessions: SessionService, tickets: WebSocketTickets) -> Starlette:
    """Build an app that logs in and out, issues tickets and repeats what it hears."""
    cookie = SessionCookie()

    async def login(request: Request) -> Response:
        issued = await sessions.create(
            user_id="alice", tenant_id=ACME, replaces=cookie.read(request.scope)
        )
        response = PlainTextResponse("welcome")
        cookie.set(response, issued)
        return response

    async def logout(request: Request) -> Response:
        sid = cookie.read(request.scope)
        assert sid is not None
        await sessions.terminate(sid)
        response = PlainTextResponse("bye")
        cookie.clear(response)
        return response

    async def parrot(socket: WebSocket) -> None:
        await socket.accept()
        context = current_context()
        await socket.send_text(f"{context.user_id} {context.tenant_id}" if context else "nobody")
        try:
            while True:
                await socket.send_text(await socket.receive_text())
        except WebSocketDisconnect:
            return

    return Starlette(
        routes=[
            Route("/login", login, methods=["POST"]),
            Route("/logout", logout, methods=["POST"]),
            Route("/ticket", tickets.endpoint, methods=["POST"]),
            WebSocketRoute("/ws", parrot),
        ]
    )


@pytest.fixture
def made() -> World:
    store = MemoryStore()
    return World(SessionService(store), store, SYSTEM_CLOCK, Directory())  # type: ignore[arg-type]


def everything(made: World) -> Any:
    """Guard an app with all four ways to sign a socket in."""
    tickets = WebSocketTickets(made.store, sessions=made.sessions)
    bearer = Bearer(Principal(user_id="robot", tenant_id=ACME))
    more = (TicketAuthenticator(tickets), WebSocketBearer(bearer), bearer)
    app = app_of(made.sessions, tickets)
    return guarded(made, app, *more, public_paths=["/login"], environment="test")


async def closing(socket: Any) -> int | None:
    async with asyncio.timeout(10):
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    received = closed.value.rcvd
    return None if received is None else received.code


@pytest.mark.parametrize("server", SERVERS)
async def test_from_login_to_logout_on_a_real_server(made: World, server: str) -> None:
    """The whole way: a cookie, a socket by cookie, one by ticket, and one logout for both."""
    async with served(everything(made), ws=server) as port, httpx.AsyncClient() as http:
        own = {"origin": f"http://127.0.0.1:{port}"}
        answer = await http.post(f"http://127.0.0.1:{port}/login", headers=own)
        cookie = answer.headers["set-cookie"].partition(";")[0]
        signed_in = {**own, "cookie": cookie}
        issued = await http.post(f"http://127.0.0.1:{port}/ticket", headers=signed_in)
        ticket = issued.json()["ticket"]
        assert (issued.status_code, issued.headers["cache-control"]) == (201, "no-store")

        address = f"ws://127.0.0.1:{port}/ws"
        async with (
            connect(
                address, origin=Origin(own["origin"]), additional_headers={"cookie": cookie}
            ) as one,
            connect(
                address,
                origin=Origin(own["origin"]),
                subprotocols=[Subprotocol("ticket"), Subprotocol(ticket)],
            ) as two,
        ):
            assert await one.recv() == await two.recv() == f"alice {ACME}"
            assert two.subprotocol == "ticket"
            await one.send("hello")
            assert await one.recv() == "hello"

            gone = await http.post(f"http://127.0.0.1:{port}/logout", headers=signed_in)

            assert gone.status_code == 200
            assert await closing(one) == await closing(two) == 4401
        again = await http.post(f"http://127.0.0.1:{port}/ticket", headers=signed_in)
        assert again.status_code == 401


@pytest.mark.parametrize("server", SERVERS)
async def test_a_token_opens_a_socket_and_its_name_comes_back(made: World, server: str) -> None:
    """As a subprotocol, as a browser must; as a header, as a program may."""
    async with served(everything(made), ws=server) as port:
        address, origin = f"ws://127.0.0.1:{port}/ws", Origin(f"http://127.0.0.1:{port}")
        offered = [Subprotocol("bearer"), Subprotocol("alices.token"), Subprotocol("chat")]
        async with connect(address, origin=origin, subprotocols=offered) as socket:
            assert await socket.recv() == f"robot {ACME}"
            assert socket.subprotocol == "bearer"
            assert "alices.token" not in str(socket.response and socket.response.headers)
        header = {"authorization": "Bearer alices.token"}
        async with connect(address, origin=origin, additional_headers=header) as socket:
            assert await socket.recv() == f"robot {ACME}"
            assert socket.subprotocol is None


async def test_a_cookie_opens_no_socket_from_another_page(made: World) -> None:
    """Cross-site WebSocket hijacking, on the wire; and nothing opens without a credential."""
    issued = await made.login()
    cookie = {"cookie": cookie_of(issued)}
    async with served(everything(made)) as port:
        address, own = f"ws://127.0.0.1:{port}/ws", f"http://127.0.0.1:{port}"
        for origin, headers, status in (
            ("https://evil.example", cookie, 403),
            (None, cookie, 403),
            (own, {}, 401),
            (own, {"cookie": "__Host-sid=" + "x" * 43}, 401),
        ):
            with pytest.raises(InvalidStatus) as refused:
                await connect(address, origin=origin, additional_headers=headers)  # type: ignore[arg-type]
            assert refused.value.response.status_code == status
