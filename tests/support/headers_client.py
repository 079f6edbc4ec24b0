"""Drive an ASGI app by hand, and see every message as the server would."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from asgi_guard.observability import subscribe
from asgi_guard.protocols import SecurityEvent

__all__ = ["Answer", "EventList", "collected_events", "http_scope", "plain_app", "request"]


@dataclass(slots=True)
class Answer:
    """What came out of one request."""

    messages: list[Any] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def start(self) -> Any:
        return next(each for each in self.messages if each["type"] == "http.response.start")

    @property
    def status(self) -> int:
        return int(self.start["status"])

    @property
    def lines(self) -> list[tuple[str, str]]:
        return [(name.decode(), value.decode()) for name, value in self.start["headers"]]

    @property
    def headers(self) -> dict[str, str]:
        """The headers by name; a name that came twice fails the test."""
        names = [name for name, _ in self.lines if name != "set-cookie"]
        assert len(names) == len(set(names)), f"a header came twice: {names}"
        return dict(self.lines)

    @property
    def body(self) -> bytes:
        return b"".join(each.get("body", b"") for each in self.messages)


def http_scope(
    path: str = "/",
    *,
    scheme: str = "https",
    headers: Iterable[tuple[str, str]] = (),
    method: str = "GET",
    **more: Any,
) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": scheme,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        "client": ("203.0.113.9", 4711),
        "server": ("app.example", 443),
        **more,
    }


async def request(
    app: Any, scope: dict[str, Any] | None = None, *, body: Iterable[bytes] = (b"",)
) -> Answer:
    """Send one request; an exception that the app raises is kept, not raised."""
    chunks = list(body)
    answer = Answer()

    async def receive() -> dict[str, Any]:
        if not chunks:
            return {"type": "http.disconnect"}
        chunk = chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    async def send(message: Any) -> None:
        answer.messages.append(message)

    try:
        await app(scope or http_scope(), receive, send)
    except Exception as error:
        answer.error = error
    return answer


def plain_app(
    headers: Iterable[tuple[str, str]] = (), *, status: int = 200, before: Callable[[Any], Any] = id
) -> Any:
    """Return an app that answers with these headers, after *before* has seen its scope."""
    lines = [(name.encode(), value.encode()) for name, value in headers]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        before(scope)
        await send({"type": "http.response.start", "status": status, "headers": lines})
        await send({"type": "http.response.body", "body": b"hello"})

    return app


class EventList:
    """An event sink that keeps what it gets."""

    def __init__(self) -> None:
        self.events: list[SecurityEvent] = []

    def emit(self, event: SecurityEvent) -> None:
        self.events.append(event)

    def named(self, name: str) -> list[SecurityEvent]:
        return [event for event in self.events if event.name == name]


@contextmanager
def collected_events() -> Any:
    """Give the events that are emitted inside the block."""
    sink = EventList()
    stop = subscribe(sink)
    try:
        yield sink
    finally:
        stop()
