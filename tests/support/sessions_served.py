"""Apps behind sessions: guarded, and with each of the ways to sign a WebSocket in."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from asgi_guard import Guard, GuardSettings
from asgi_guard.auth import AuthenticationMiddleware
from asgi_guard.auth.sessions import SessionAuthenticator, SessionCookie
from asgi_guard.cross_origin import CrossOriginMiddleware
from asgi_guard.protocols import ASGIApp, Principal, Receive, Scope, Send
from asgi_guard.tenancy import ClaimResolver
from asgi_guard.tenancy.current import entered_context
from tests.support.sessions_world import World

__all__ = ["OWN", "Bearer", "HandTicker", "cookie_of", "guarded", "protected", "served", "whoami"]

OWN = "https://app.example"
_TOKEN = "alices.token"


class HandTicker:
    """Waits until a test lets the time of every waiting check come."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._due = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        due = self._due
        await due.wait()

    def strike(self) -> None:
        self._due.set()
        self._due = asyncio.Event()


class Bearer:
    """Knows one token."""

    def __init__(self, principal: Principal, *, token: str = _TOKEN) -> None:
        self.principal = principal
        self.line = (b"authorization", f"Bearer {token}".encode())

    async def authenticate(self, scope: Scope) -> Principal | None:
        return self.principal if self.line in scope["headers"] else None


def cookie_of(issued: Any) -> str:
    """Return the ``Cookie`` header of a browser that has *issued*."""
    return f"{SessionCookie().name}={issued.sid.reveal()}"


async def whoami(scope: Scope, receive: Receive, send: Send) -> None:
    """Tell who is served, over HTTP and over a WebSocket, and repeat what is said there."""
    context, user = entered_context(), scope.get("user")
    name = getattr(user, "display_name", "") or "nobody"
    told = f"{name} {context.tenant_id if context else '-'} {scope.get('subprotocols', '')}"
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": told})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": told.encode()})


def protected(app: ASGIApp, *authenticators: Any, check_origin: bool = True) -> ASGIApp:
    """Put the middlewares around *app* by hand."""
    inner: ASGIApp = AuthenticationMiddleware(app, authenticators=authenticators)
    return CrossOriginMiddleware(inner) if check_origin else inner


def guarded(made: World, app: ASGIApp, *more: Any, **settings: Any) -> ASGIApp:
    """Install a guard whose users come with the session cookie, or with one of *more*."""
    return Guard(
        GuardSettings(
            **{
                "authenticators": [*more, SessionAuthenticator(made.sessions)],
                "resolver": ClaimResolver(),
                "clock": made.clock,
                **settings,
            }
        )
    ).install(app)


@asynccontextmanager
async def served(app: ASGIApp, *, ws: str = "websockets-sansio") -> AsyncIterator[int]:
    """Serve *app* on loopback with a real uvicorn; gives the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http="h11", ws=ws, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    serving_task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(10):
            while not server.started:  # noqa: ASYNC110 - uvicorn offers a flag, no event
                await asyncio.sleep(0.005)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        async with asyncio.timeout(10):
            await serving_task
        listener.close()
