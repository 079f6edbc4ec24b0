"""A client that stays: it hears the answer out, and never hangs up first."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from asgi_guard.protocols import ASGIApp
from tests.support.exchange import Answer, http_scope, websocket_scope

__all__ = ["get", "is_protected", "open_socket", "problem"]

_SAID = {"websocket.send", "websocket.close", "websocket.http.response.body"}


async def get(
    app: ASGIApp,
    path: str,
    headers: dict[str, str] | None = None,
    method: str = "GET",
    query: str = "",
) -> Answer:
    """Ask; what the app raises for its server's log after the answer is no business of callers."""
    answer, answered = Answer(), asyncio.Event()
    incoming = [
        {"type": "http.disconnect"},
        {"type": "http.request", "body": b"", "more_body": False},
    ]

    async def receive() -> Any:
        if len(incoming) == 1:
            await answered.wait()  # as servers do: a disconnect follows the whole answer
        return incoming.pop() if len(incoming) > 1 else incoming[0]

    async def send(message: Any) -> None:
        answer.sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            answered.set()

    scope = http_scope(method, path, headers or {}) | {"query_string": query.encode()}
    try:
        await app(scope, receive, send)
    except Exception:
        if not answer.sent:
            raise
    return answer


async def open_socket(
    app: ASGIApp, path: str, headers: dict[str, str], *, denial: bool = True
) -> Answer:
    """Open a WebSocket, hang up once something has been said on it, and return all that was."""
    answer, told = Answer(), asyncio.Event()
    incoming: list[Any] = [{"type": "websocket.disconnect", "code": 1000}]
    incoming.append({"type": "websocket.connect"})

    async def receive() -> Any:
        if len(incoming) == 1:
            await told.wait()
        return incoming.pop()

    async def send(message: Any) -> None:
        answer.sent.append(message)
        if message["type"] in _SAID:
            told.set()

    await app(websocket_scope(path, headers, denial=denial), receive, send)
    return answer


def is_protected(answer: Answer) -> bool:
    """Tell whether the answer went out through the outer layers."""
    names = {name for name, _ in answer.headers}
    return names >= {"x-request-id", "vary", "x-content-type-options", "content-security-policy"}


def problem(answer: Answer) -> dict[str, Any]:
    """Return the body, once it is known to be a whole problem."""
    assert answer.header("content-type") == "application/problem+json"
    told: dict[str, Any] = json.loads(answer.body)
    assert set(told) == {"type", "title", "status", "code", "request_id"}
    assert told["status"] == answer.status
    assert told["request_id"] == answer.header("x-request-id")
    return told
