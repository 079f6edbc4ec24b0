"""One connection to an ASGI app, spoken message by message, with nothing in between."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from asgi_guard.protocols import ASGIApp

__all__ = ["Answer", "Events", "ask", "handshake", "http_scope", "websocket_scope"]

Headers = dict[str, str] | Iterable[tuple[str, str]]


@dataclass
class Answer:
    """What an app sent, as messages and as the parts most tests look at."""

    sent: list[Any] = field(default_factory=list)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [(name.decode(), value.decode()) for name, value in self.sent[0]["headers"]]

    def header(self, name: str) -> str | None:
        """Return the one value of *name*; a second one is a mistake that no test may miss."""
        values = [value for key, value in self.headers if key == name]
        if len(values) > 1:
            raise AssertionError(f"{name} was sent {len(values)} times: {values}")
        return values[0] if values else None

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])


class Events:
    """An event sink that remembers, and wakes who waits for the first event."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.arrived = asyncio.Event()

    def emit(self, event: Any) -> None:
        self.seen.append(event)
        self.arrived.set()

    @property
    def reasons(self) -> list[str]:
        return [event.reason for event in self.seen]


def _pairs(headers: Headers) -> list[tuple[bytes, bytes]]:
    items = headers.items() if isinstance(headers, dict) else headers
    return [(name.encode(), value.encode("latin-1")) for name, value in items]


def http_scope(
    method: str = "GET",
    path: str = "/",
    headers: Headers = (),
    *,
    host: str | None = "app.example",
    scheme: str = "http",
    client: tuple[str, int] | None = ("203.0.113.9", 5000),
) -> dict[str, Any]:
    """Build an HTTP scope as a server would."""
    own = [] if host is None else [(b"host", host.encode())]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": scheme,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": own + _pairs(headers),
        "client": client,
        "server": ("127.0.0.1", 8000),
        "extensions": {},
        "state": {},
    }


def websocket_scope(
    path: str = "/", headers: Headers = (), *, denial: bool = True, scheme: str = "ws", **rest: Any
) -> dict[str, Any]:
    """Build a WebSocket scope as a server would, with or without the denial extension."""
    scope = http_scope("GET", path, headers, scheme=scheme, **rest)
    del scope["method"]
    extensions = {"websocket.http.response": {}} if denial else {}
    return {**scope, "type": "websocket", "subprotocols": [], "extensions": extensions}


async def ask(app: ASGIApp, scope: dict[str, Any], body: bytes = b"") -> Answer:
    """Send one HTTP request and collect the answer."""
    answer = Answer()
    incoming = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        answer.sent.append(message)

    await app(scope, receive, send)
    return answer


async def handshake(app: ASGIApp, scope: dict[str, Any]) -> Answer:
    """Open one WebSocket and collect what the app sends until it returns."""
    answer = Answer()
    incoming = [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000}]

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        answer.sent.append(message)

    await app(scope, receive, send)
    return answer
