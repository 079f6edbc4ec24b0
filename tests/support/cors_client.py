"""Ask an ASGI app as a browser would, and look at every field of the answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from asgi_guard.observability import SecurityEvent, subscribe
from asgi_guard.protocols import ASGIApp, Receive, Scope, Send

__all__ = ["Answer", "ask", "hello", "http_scope", "preflight", "recorded_events", "saying"]

Field = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: status, fields in order as sent, body."""

    status: int
    fields: tuple[Field, ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        """Return every value of field *name*, one per line sent."""
        return [value for key, value in self.fields if key.lower() == name]

    @property
    def grants(self) -> set[Field]:
        """Return the fields that give another origin anything."""
        return {
            (name, value)
            for name, value in self.fields
            if name.lower().startswith("access-control-") or name.lower() == "timing-allow-origin"
        }


def http_scope(method: str, target: str, fields: Iterable[tuple[bytes, bytes]]) -> dict[str, Any]:
    """Build the scope that uvicorn builds for one request."""
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"api.example.com"), *fields],
        "client": ("203.0.113.7", 50_000),
        "server": ("api.example.com", 443),
    }


async def ask(
    app: ASGIApp,
    method: str = "GET",
    target: str = "/",
    *,
    origin: str | bytes | None = None,
    fields: Iterable[tuple[str | bytes, str | bytes]] = (),
) -> Answer:
    """Send one request and collect its answer."""
    sent = [(_bytes(name).lower(), _bytes(value)) for name, value in fields]
    if origin is not None:
        sent.insert(0, (b"origin", _bytes(origin)))
    messages: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        messages.append(message)

    await app(http_scope(method, target, sent), receive, send)
    start = messages[0]
    return Answer(
        start["status"],
        tuple((k.decode("latin-1"), v.decode("latin-1")) for k, v in start["headers"]),
        b"".join(message.get("body", b"") for message in messages[1:]),
    )


async def preflight(
    app: ASGIApp,
    origin: str | bytes,
    method: str = "GET",
    headers: str | bytes | None = None,
    *,
    target: str = "/",
    fields: Iterable[tuple[str | bytes, str | bytes]] = (),
) -> Answer:
    """Ask first, as a browser does before a request that is not simple."""
    asked: list[tuple[str | bytes, str | bytes]] = [("access-control-request-method", method)]
    if headers is not None:
        asked.append(("access-control-request-headers", headers))
    return await ask(app, "OPTIONS", target, origin=origin, fields=[*asked, *fields])


def saying(*fields: tuple[bytes, bytes], status: int = 200) -> ASGIApp:
    """Return an app that answers with *fields*, the same message object each time."""
    start = {"type": "http.response.start", "status": status, "headers": list(fields)}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start)
        await send({"type": "http.response.body", "body": b"hello"})

    return app


hello = saying((b"content-type", b"text/plain"))


class _Recorder:
    def __init__(self, events: list[SecurityEvent]) -> None:
        self._events = events

    def emit(self, event: SecurityEvent) -> None:
        self._events.append(event)


@contextmanager
def recorded_events() -> Iterator[list[SecurityEvent]]:
    """Collect the security events of a block."""
    events: list[SecurityEvent] = []
    unsubscribe = subscribe(_Recorder(events))
    try:
        yield events
    finally:
        unsubscribe()


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")
