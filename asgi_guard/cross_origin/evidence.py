"""What a request says about where it came from, read in one pass over its headers."""

from __future__ import annotations

from typing import Final, NamedTuple

from asgi_guard.protocols import Scope

__all__ = ["Evidence", "own_origins", "read_evidence"]

_FIELDS: Final = {
    b"origin": 0,
    b"sec-fetch-site": 1,
    b"sec-fetch-mode": 2,
    b"sec-fetch-dest": 3,
    b"authorization": 4,
}

# Schemes that a browser never adds by itself. It does repeat Basic, Digest, Negotiate and NTLM
# credentials unasked (RFC 7617 section 2.2), which makes those as forgeable as cookies.
_TOKEN_SCHEMES: Final = frozenset({b"bearer", b"dpop"})


class Evidence(NamedTuple):
    """The headers a decision rests on, as received; None where one was not sent.

    Args:
        method: The HTTP method; ``"GET"`` for a WebSocket handshake.
        origin: RFC 6454 section 7.
        site: ``Sec-Fetch-Site``, W3C Fetch Metadata section 2.4.
        mode: ``Sec-Fetch-Mode``.
        dest: ``Sec-Fetch-Dest``.
        doubled: Name of one of these headers that was sent twice, else empty.
        has_cookie: A ``Cookie`` header was sent.
        has_authorization: An ``Authorization`` header was sent, of whatever scheme.
        has_token: A bearer or DPoP token was sent, which no browser adds by itself.
        is_preflight: A CORS preflight (Fetch standard, "CORS-preflight request").
    """

    method: str
    origin: bytes | None = None
    site: bytes | None = None
    mode: bytes | None = None
    dest: bytes | None = None
    doubled: str = ""
    has_cookie: bool = False
    has_authorization: bool = False
    has_token: bool = False
    is_preflight: bool = False


def read_evidence(scope: Scope) -> Evidence:
    """Read the evidence of one HTTP or WebSocket scope."""
    found: list[bytes | None] = [None] * len(_FIELDS)
    doubled = ""
    has_cookie = asks_method = False
    for name, value in scope["headers"]:
        place = _FIELDS.get(name)
        if place is not None:
            if found[place] is not None:
                doubled = name.decode("ascii").replace("-", "_")
            found[place] = value
        elif name == b"cookie":
            has_cookie = True
        elif name == b"access-control-request-method":
            asks_method = True
    origin, site, mode, dest, authorization = found
    method = scope.get("method", "GET")
    return Evidence(
        method,
        origin,
        site,
        mode,
        dest,
        doubled,
        has_cookie,
        authorization is not None,
        authorization is not None and _is_token(authorization),
        asks_method and method == "OPTIONS" and origin is not None,
    )


def own_origins(scheme: str | None, host: str | None) -> tuple[bytes, ...]:
    """Return the ``Origin`` values that pages of this very app would send.

    Args:
        scheme: ``"http"`` or ``"https"`` as far as it is known; None if it is not.
        host: ``host[:port]`` that the browser addressed, lower-case; None if it is not known.

    An app that sees plain http may stand behind a proxy that ends TLS, so the https page of the
    same host and port is its own as well. The other way round is refused: a page over http is
    anybody's who sits on the network, and must not act on the https app.
    """
    if scheme is None or host is None:
        return ()
    if scheme == "https":
        return (_serialise("https", host, ":443"),)
    return (_serialise("http", host, ":80"), _serialise("https", host, ":443"))


def _serialise(scheme: str, host: str, default_port: str) -> bytes:
    return f"{scheme}://{host.removesuffix(default_port)}".encode("latin-1")


def _is_token(authorization: bytes) -> bool:
    scheme, _, credentials = authorization.partition(b" ")
    return scheme.lower() in _TOKEN_SCHEMES and bool(credentials.strip())
