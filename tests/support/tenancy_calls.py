"""Speak to an ASGI app in this process, as a patient client: it hangs up after the last byte."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote, unquote_to_bytes

from asgi_guard.protocols import ASGIApp, Receive, Scope, Send
from tests.support.exchange import Answer, http_scope, websocket_scope

__all__ = ["Socket", "echo_path", "get", "run_lifespan", "sent"]

Headers = dict[str, str] | Iterable[tuple[str, str]]


async def get(
    app: ASGIApp,
    path: str = "/",
    headers: Headers = (),
    *,
    host: str = "app.example",
    query: str = "",
    **changes: Any,
) -> Answer:
    """Send one GET and return the answer, once the app has finished altogether.

    Args:
        app: The app.
        path: As decoded by a server.
        headers: Names and values.
        host: The Host header.
        query: Without the question mark.
        **changes: Further keys of the scope.
    """
    answer, finished = Answer(), asyncio.Event()
    incoming = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Any:
        if incoming:
            return incoming.pop()
        await finished.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        answer.sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            finished.set()

    scope = {
        **http_scope("GET", path, headers, host=host),
        "query_string": query.encode(),
        **changes,
    }
    await app(scope, receive, send)
    return answer


@dataclass
class Socket:
    """A WebSocket client: ``async with Socket(app, "/ws") as socket``."""

    app: ASGIApp
    path: str = "/"
    headers: Headers = ()
    denial: bool = True
    sent: list[Any] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._incoming: asyncio.Queue[Any] = asyncio.Queue()
        self._outgoing: asyncio.Queue[Any] = asyncio.Queue()
        self._incoming.put_nowait({"type": "websocket.connect"})
        scope = websocket_scope(self.path, self.headers, denial=self.denial)
        self._task = asyncio.create_task(self._serve(scope))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})
        async with asyncio.timeout(10):
            await self._task

    async def _serve(self, scope: Any) -> None:
        async def send(message: Any) -> None:
            self.sent.append(message)
            self._outgoing.put_nowait(message)

        try:
            await self.app(scope, self._incoming.get, send)
        finally:
            self._outgoing.put_nowait({"type": "app.returned"})

    async def next(self) -> Any:
        """Return the next message from the app."""
        async with asyncio.timeout(10):
            return await self._outgoing.get()

    def say(self, text: str) -> None:
        """Send a text message."""
        self._incoming.put_nowait({"type": "websocket.receive", "text": text})


async def run_lifespan(app: ASGIApp) -> list[str]:
    """Start *app* up and shut it down; return what it answered."""
    incoming = [{"type": "lifespan.shutdown"}, {"type": "lifespan.startup"}]
    answers: list[str] = []

    async def receive() -> Any:
        return incoming.pop()

    async def send(message: Any) -> None:
        answers.append(message["type"])

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    return answers


def sent(raw: str, *, root: str = "", keep_raw: bool = True) -> dict[str, Any]:
    """Build the scope of a request line, the way servers do: decoded once."""
    path = unquote_to_bytes(raw.partition("?")[0]).decode("utf-8", "replace")
    scope: dict[str, Any] = {"type": "http", "path": root + path, "root_path": root, "headers": []}
    if keep_raw:
        scope["raw_path"] = (root + raw).encode()
    return scope


async def echo_path(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer 200 with the path."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": quote(scope["path"]).encode()})
