"""What the hosts of `tenancy_hosts` have in common, and the host that is nothing but ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from asgi_guard.protocols import ASGIApp, Receive, Scope, Send
from tests.support.tenancy_channels import PROBES, guarded_who
from tests.support.tenancy_world import who

__all__ = [
    "OnPurposeError",
    "SomebodyElses",
    "events",
    "late",
    "raw_host",
    "remember",
    "remember_in_thread",
    "started_as",
    "steps",
    "talk",
]

late: dict[str, str] = {}
started_as: list[str] = []


class OnPurposeError(Exception):
    """Raised by a handler, for the host's exception handlers."""


async def steps() -> AsyncIterator[bytes]:
    """Yield who each step of a streamed body runs for."""
    for _ in range(3):
        await asyncio.sleep(0)
        yield guarded_who().encode() + b"\n"


async def events() -> AsyncIterator[bytes]:
    """Yield server-sent events."""
    async for step in steps():
        yield b"data: " + step + b"\n"


async def remember(key: str) -> None:
    """Note who work after the response runs for."""
    await asyncio.sleep(0)
    late[key] = guarded_who()


def remember_in_thread(key: str) -> None:
    """Do so in the host's thread pool."""
    late[key] = guarded_who()


async def talk(socket: WebSocket) -> None:
    """Answer each message, from the handler's own receive loop."""
    await socket.accept()
    await socket.send_text(guarded_who())
    try:
        while True:
            await socket.receive_text()
            await socket.send_text(guarded_who())
    except WebSocketDisconnect:
        late["websocket"] = guarded_who()


class SomebodyElses(BaseHTTPMiddleware):
    """A middleware of the kind that breaks context variables of inner code for outer code."""

    async def dispatch(
        self, request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        before = guarded_who()
        response = await call_next(request)
        response.headers["x-before"] = before
        response.headers["x-after"] = guarded_who()
        return response


def raw_host() -> ASGIApp:
    """Build the same app with nothing but ASGI."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "websocket":
            await talk(WebSocket(scope, receive, send))
        else:
            await _raw_http(scope, send)

    return app


async def _lifespan(receive: Receive, send: Send) -> None:
    await receive()
    started_as.append(who())
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def _raw_http(scope: Scope, send: Send) -> None:
    path = scope["path"].removeprefix("/mounted")
    key = scope["query_string"].decode().removeprefix("key=")
    headers = [(b"x-before", guarded_who().encode()), (b"x-after", guarded_who().encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    async for part in _raw_parts(path):
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body"})
    if path.startswith("/background"):
        work: Any = asyncio.to_thread(remember_in_thread, key) if "thread" in path else None
        await (work or remember(key))


async def _raw_parts(path: str) -> AsyncIterator[bytes]:
    name = path.removeprefix("/probe/")
    if name in PROBES:
        yield (await PROBES[name]()).encode()
    elif path in {"/sync", "/inner", "/dependencies", "/public"}:
        yield (await asyncio.to_thread(guarded_who)).encode()
    elif path in {"/stream", "/sse"}:
        async for part in steps() if path == "/stream" else events():
            yield part
    elif path == "/fail":
        try:
            await _fail()
        except OnPurposeError:
            yield guarded_who().encode()


async def _fail() -> None:
    raise OnPurposeError
