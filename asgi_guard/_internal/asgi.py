"""Mechanics of ASGI scopes and messages that every middleware shares.

Rules held here, once: a message or header list that came from the app is copied before it is
changed (an app may send the same object twice); only the start of a response is touched; a
security header that was sent twice is refused rather than guessed at (RFC 9110 section 5.3).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from typing import Any, Final

from asgi_guard._internal.guard_marks import CLIENT
from asgi_guard.errors import ConfigError, RequestInvalidError
from asgi_guard.protocols import Scope, Send

__all__ = [
    "HeaderList",
    "add_vary",
    "client_of",
    "field_name",
    "on_response_start",
    "single_header",
]

HeaderList = list[tuple[bytes, bytes]]

_STARTS = frozenset({"http.response.start", "websocket.http.response.start"})
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110 section 5.6.2


def field_name(setting: str, name: str) -> bytes:
    """Return a header's name as scopes have it: in lower case, as bytes.

    Raises:
        ConfigError: *name* is no header name (RFC 9110 section 5.1), so it could never match.
    """
    if not _TOKEN.fullmatch(name):
        raise ConfigError(setting, f"{name!r} is not a header name", "Use e.g. x-request-id.")
    return name.lower().encode()


def client_of(scope: Scope) -> str | None:
    """Return the client's address: as the guard decided it, else the peer that the server saw.

    Without a guard that trusts proxies, behind a proxy that is the proxy's.
    """
    if CLIENT in scope:
        decided: str | None = scope[CLIENT]
        return decided
    client = scope.get("client")
    return str(client[0]) if client else None


def single_header(scope: Scope, name: bytes) -> bytes | None:
    """Return the one value of header *name* (lower-case), or None if it was not sent.

    Raises:
        RequestInvalidError: It was sent more than once; which one an inner layer would believe
            cannot be known.
    """
    found: bytes | None = None
    for key, value in scope["headers"]:
        if key == name:
            if found is not None:
                raise RequestInvalidError(f"duplicate_{name.decode('latin-1').replace('-', '_')}")
            found = value
    return found


def on_response_start(send: Send, edit: Callable[[HeaderList], None]) -> Send:
    """Return a *send* that lets *edit* change a copy of the response's header list.

    *edit* receives ``(lower-case name, value)`` pairs in order and changes the list in place. It
    runs once per response start, for HTTP and for a WebSocket handshake that is denied with a
    response; every other message passes through as the same object.
    """

    def guarded_send(message: MutableMapping[str, Any]) -> Awaitable[None]:
        if message["type"] not in _STARTS:
            return send(message)
        headers: HeaderList = [(name.lower(), value) for name, value in message.get("headers", ())]
        edit(headers)
        return send({**message, "headers": headers})

    return guarded_send  # a plain def: it saves a coroutine per message


def add_vary(headers: HeaderList, field: bytes) -> None:
    """Name *field* in ``Vary`` once, merging with what is there (RFC 9110 section 12.5.5).

    ``Vary: *`` already covers every field and stays alone. Several ``Vary`` lines become one.
    """
    present = b",".join([value for name, value in headers if name == b"vary"])
    headers[:] = [pair for pair in headers if pair[0] != b"vary"]
    headers.append((b"vary", _merged(present, field)))


@lru_cache(maxsize=512)  # an app sends a handful of different Vary lines, over and over
def _merged(present: bytes, field: bytes) -> bytes:
    members = [part.strip() for part in present.split(b",") if part.strip()]
    if b"*" in members:
        return b"*"
    seen: dict[bytes, bytes] = {}
    for member in (*members, field):
        seen.setdefault(member.lower(), member)
    return b", ".join(seen.values())
