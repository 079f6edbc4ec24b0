"""One id per connection, kept in the scope so that every layer names the same one.

A mounted sub-app receives a copy of the scope; the id travels in it.
"""

from __future__ import annotations

import re
from typing import Final

from asgi_guard._internal.entropy import new_request_id
from asgi_guard.protocols import Scope

__all__ = ["SCOPE_KEY", "request_id_of"]

SCOPE_KEY: Final = "asgi_guard.request_id"

# Letters, digits and the marks of UUIDs, ULIDs and trace ids: nothing that a log format, a
# header or a shell could read as its own syntax.
_WELL_FORMED = re.compile(rb"[A-Za-z0-9._-]{8,128}\Z")


def request_id_of(scope: Scope, *, trusted_header: bytes | None = None) -> str:
    """Return the connection's id, making it on first use.

    Args:
        scope: An HTTP or WebSocket scope.
        trusted_header: Lower-case header whose value is taken when it is well-formed and was sent
            exactly once; None never believes a caller.
    """
    known = scope.get(SCOPE_KEY)
    if known is not None:
        return str(known)
    made = _from_header(scope, trusted_header) or new_request_id()
    scope[SCOPE_KEY] = made
    return made


def _from_header(scope: Scope, name: bytes | None) -> str | None:
    if name is None:
        return None
    values: list[bytes] = [value for key, value in scope["headers"] if key == name]
    if len(values) != 1 or not _WELL_FORMED.match(values[0]):
        return None
    return values[0].decode("ascii")
