"""What an authenticator has to tell its client along with a good answer.

A scheme may renew something with each response: a nonce (RFC 9449 section 8.2), a rotated
cookie. The authenticator sees only the scope, so it leaves the fields there, and the
authentication middleware adds them to whatever the app answers.
"""

from __future__ import annotations

from typing import Final

from asgi_guard._internal.asgi import HeaderList, on_response_start
from asgi_guard.protocols import Scope, Send

__all__ = ["announce", "announcing"]

_KEY: Final = "asgi_guard.announced"


def announce(scope: Scope, *fields: tuple[bytes, bytes]) -> None:
    """Have *fields*, with lower-case names, set on the response; each replaces the app's own."""
    scope[_KEY] = (*scope.get(_KEY, ()), *fields)


def announcing(scope: Scope, send: Send) -> Send:
    """Return a *send* that sets what was announced; *send* itself if nothing was."""
    fields: tuple[tuple[bytes, bytes], ...] = scope.pop(_KEY, ())
    if not fields:
        return send
    names = {name for name, _ in fields}

    def add(headers: HeaderList) -> None:
        headers[:] = [pair for pair in headers if pair[0] not in names]
        headers.extend(fields)

    return on_response_start(send, add)
