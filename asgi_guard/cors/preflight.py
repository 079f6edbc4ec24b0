"""What a preflight asks for, read in bounded time and size (Fetch section 3.2.2).

A preflight costs a stranger nothing and needs no credential, so the list of requested headers is
where peers could be made to burn processor and memory (rs/cors before 1.11: 127 ms and 121 MB
for one request). Here a list that no browser would send is refused before it is split.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from asgi_guard.protocols import Scope

__all__ = ["MAX_REQUESTED_BYTES", "MAX_REQUESTED_NAMES", "Preflight", "read_preflight"]

MAX_REQUESTED_BYTES: Final = 4096
MAX_REQUESTED_NAMES: Final = 64
"""Members of the list, empty ones included (RFC 9110 section 5.6.1.2 asks to bear a few)."""

_METHOD: Final = b"access-control-request-method"
_HEADERS: Final = b"access-control-request-headers"
_PRIVATE_NETWORK: Final = b"access-control-request-private-network"


class Preflight(NamedTuple):
    """What is asked.

    Args:
        method: As received; None when it was sent more than once.
        headers: Requested names in lower case, in order, once each; None when the list is too
            long. Nothing else is known about them: grant only what is listed or a token.
        private_network: Whether a page on the public network asks for a private one.
    """

    method: bytes | None
    headers: tuple[bytes, ...] | None
    private_network: bool


def read_preflight(scope: Scope) -> Preflight:
    """Read the ``Access-Control-Request-*`` fields of *scope*."""
    methods: list[bytes] = []
    fields: list[bytes] = []
    private_network = False
    for name, value in scope["headers"]:
        if name == _METHOD:
            methods.append(value)
        elif name == _HEADERS:
            fields.append(value)
        elif name == _PRIVATE_NETWORK:
            private_network = True  # whatever its value says: doubt is not a grant
    method = methods[0] if len(methods) == 1 else None
    return Preflight(method, _requested_headers(fields), private_network)


def _requested_headers(fields: list[bytes]) -> tuple[bytes, ...] | None:
    if not fields:
        return ()
    joined = fields[0] if len(fields) == 1 else b",".join(fields)
    if len(joined) > MAX_REQUESTED_BYTES or joined.count(b",") >= MAX_REQUESTED_NAMES:
        return None
    names = [member.strip(b" \t") for member in joined.lower().split(b",")]
    return tuple(dict.fromkeys(filter(None, names)))
