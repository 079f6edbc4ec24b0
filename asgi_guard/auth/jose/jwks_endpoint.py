"""JWKSEndpoint: an ASGI app that publishes the public keys."""

from __future__ import annotations

import re
from typing import Final, Protocol

from asgi_guard._internal.responses import send_problem
from asgi_guard.auth.jose.jwks_document import JWKSDocument
from asgi_guard.errors import UnavailableError
from asgi_guard.protocols import Receive, Scope, Send

__all__ = ["JWKSEndpoint"]

_ETAGS: Final = re.compile(rb'(?:W/)?("[^"]*")')
_HEADERS: Final = (
    (b"content-type", b"application/jwk-set+json"),  # RFC 7517 section 8.5.2
    (b"cache-control", b"public, max-age=300"),
    (b"x-content-type-options", b"nosniff"),
)


class _Publisher(Protocol):
    def jwks(self) -> JWKSDocument: ...


class JWKSEndpoint:
    """Serve the JWK Set of a `KeyManager`, e.g. as Starlette's ``Route("/jwks.json", endpoint)``.

    Args:
        keys: Whose public keys; there is no private member in what it gives.

    Answers GET and HEAD at whatever path it is mounted, with ``max-age=300`` and an ETag; 304 to
    whoever has the document already (RFC 9110 section 13.1.2), 405 to other methods, 503 while
    the manager is not open.
    """

    def __init__(self, keys: _Publisher) -> None:
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a WebSocket is closed."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1000, "reason": ""})
            return
        if scope["method"] not in {"GET", "HEAD"}:
            await _answer(send, 405, ((b"allow", b"GET, HEAD"), (b"content-length", b"0")), b"")
            return
        try:
            document = self._keys.jwks()
        except UnavailableError as unavailable:
            await send_problem(scope, receive, send, unavailable)
            return
        headers = (*_HEADERS, (b"etag", document.etag))
        if _has_it(scope, document.etag):
            await _answer(send, 304, headers, b"")
            return
        length = (b"content-length", str(len(document.body)).encode())
        body = b"" if scope["method"] == "HEAD" else document.body
        await _answer(send, 200, (*headers, length), body)


def _has_it(scope: Scope, etag: bytes) -> bool:
    """Compare weakly, as RFC 9110 section 13.1.2 says; several lines are one list."""
    asked = b", ".join([value for name, value in scope["headers"] if name == b"if-none-match"])
    return asked.strip() == b"*" or etag in _ETAGS.findall(asked)


async def _answer(
    send: Send, status: int, headers: tuple[tuple[bytes, bytes], ...], body: bytes
) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})
