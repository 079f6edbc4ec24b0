"""Refusals on the wire: ``application/problem+json`` (RFC 9457), and their WebSocket kin.

The body says ``type``, ``title``, ``status``, ``code`` and ``request_id``. It says nothing that
depends on what is behind the refusal, so that two refusals of one code differ in the id alone.
"""

from __future__ import annotations

import json
from typing import Final

from asgi_guard._internal.principal import challenges_of
from asgi_guard._internal.request_id import request_id_of
from asgi_guard.errors import (
    ContextExpiredError,
    GuardError,
    IsolationError,
    RejectionError,
    UnavailableError,
)
from asgi_guard.protocols import Receive, Scope, Send

__all__ = ["POLICY_VIOLATION", "problem_body", "send_problem"]

_TYPE_PREFIX: Final = "urn:asgi-guard:problem:"
POLICY_VIOLATION: Final = 1008  # RFC 6455 section 7.4.1


def problem_body(error: GuardError, request_id: str) -> tuple[int, bytes]:
    """Return the status and JSON body that *error* shows its caller."""
    status, title = 500, "Internal error"
    if isinstance(error, RejectionError | UnavailableError | IsolationError):
        status, title = error.status, error.title
    body = {
        "type": _TYPE_PREFIX + error.code.lower(),
        "title": title,
        "status": status,
        "code": error.code,
        "request_id": request_id,
    }
    return status, json.dumps(body, separators=(",", ":")).encode()


async def send_problem(scope: Scope, receive: Receive, send: Send, error: GuardError) -> None:
    """Answer *scope* with *error*, over HTTP or before a WebSocket is accepted.

    A WebSocket handshake is denied with a real response where the server offers the ASGI
    extension ``websocket.http.response``, else closed with 1008, which servers send as a 403.
    """
    status, body = problem_body(error, request_id_of(scope))
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *_headers(scope, error),
    ]
    if scope["type"] == "http":
        prefix = "http.response"
    elif "websocket.http.response" in (scope.get("extensions") or {}):
        prefix = "websocket.http.response"
        await receive()  # the handshake, which the answer replaces
    else:
        await receive()
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": error.code})
        return
    await send({"type": f"{prefix}.start", "status": status, "headers": headers})
    await send({"type": f"{prefix}.body", "body": body})


def _headers(scope: Scope, error: GuardError) -> tuple[tuple[bytes, bytes], ...]:
    if isinstance(error, ContextExpiredError):  # raised where nobody knows what the app takes
        return challenges_of(scope, refused=True)
    headers: tuple[tuple[bytes, bytes], ...] = getattr(error, "headers", ())
    return headers
