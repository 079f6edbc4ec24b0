"""HealthEndpoint: whether this process may be given requests, for load balancers and operators.

Protects users from a process that runs and does not hold: one whose start-up checks have not
passed answers 503 here as it does everywhere else, so that it is taken out of rotation.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Final

from asgi_guard._version import __version__
from asgi_guard.errors import GuardError
from asgi_guard.protocols import Receive, Scope, Send

__all__ = ["HealthEndpoint"]

_ALLOWED: Final = frozenset({"GET", "HEAD"})


class HealthEndpoint:
    """An ASGI app that answers ``{"status": "pass" | "fail", "version": ...}`` with 200 or 503.

    ``app.add_route("/health", HealthEndpoint(guard.check))``; name the path in
    ``GuardSettings.public_paths``.

    Args:
        check: Raises a `GuardError` while the process should get no requests, e.g.
            ``Guard.check``; None answers for the process alone (a liveness probe).

    The answer names no finding, host or database: those are in the operator's log. It is never
    cached (RFC 9111 section 5.2.2.5). Another method than GET and HEAD is answered with 405.
    """

    def __init__(self, check: Callable[[], Awaitable[None]] | None = None) -> None:
        self._check = check

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one HTTP request; other scopes are not served."""
        if scope["type"] != "http":
            return
        if scope["method"] not in _ALLOWED:
            await _answer(send, 405, "fail", body=True, extra=((b"allow", b"GET, HEAD"),))
            return
        passes = await self._passes()
        status, word = (200, "pass") if passes else (503, "fail")
        await _answer(send, status, word, body=scope["method"] == "GET")

    async def _passes(self) -> bool:
        if self._check is None:
            return True
        try:
            await self._check()
        except GuardError:
            return False
        return True


async def _answer(
    send: Send,
    status: int,
    word: str,
    *,
    body: bool,
    extra: tuple[tuple[bytes, bytes], ...] = (),
) -> None:
    text = json.dumps({"status": word, "version": __version__}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(text)).encode()),
        (b"cache-control", b"no-store"),
        *extra,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text if body else b""})
