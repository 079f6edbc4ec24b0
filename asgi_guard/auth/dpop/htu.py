"""One spelling for each URI, so that ``htu`` can be compared (RFC 9449 section 4.3).

Syntax-based and scheme-based normalisation (RFC 3986 sections 6.2.2 and 6.2.3): case of scheme,
host and ``%xx``, needless percent-encoding, dot segments, default port, empty path. Query and
fragment are cut off, as section 4.3 says. What has no single reading has no spelling here.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Final

from asgi_guard._internal.forwarded import parse_host

__all__ = ["canonical_authority", "canonical_path", "canonical_uri"]

_LONGEST: Final = 8 * 1024
_URI: Final = re.compile(r"([A-Za-z]+)://([^/?#]*)([^?#]*)(?:\?[^#]*)?(?:#.*)?", re.DOTALL)
_PORTS: Final = {"http": "80", "https": "443", "ws": "80", "wss": "443"}
_HIGHEST_PORT: Final = 65535
_DIGITS: Final = 5
# Pairs of hexadecimal digits, what RFC 3986 section 3.3 lets stand in a path, and all else.
_PIECE: Final = re.compile(rb"%([0-9A-Fa-f]{2})|([A-Za-z0-9._~!$&'()*+,;=:@/-]+)|(.)", re.DOTALL)
_UNRESERVED: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
)
_VISIBLE: Final = 0x21


def canonical_uri(text: str) -> str | None:
    """Return *text*, an absolute URI, in its one spelling; None if it is none.

    Args:
        text: With the scheme http, https, ws or wss. User information, a port out of range, a
            host that is percent-encoded, controls and spaces make it none.
    """
    found = _URI.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        return None
    scheme = found[1].lower()
    if scheme not in _PORTS:
        return None
    authority = canonical_authority(found[2], scheme=scheme)
    try:
        path = canonical_path(found[3].encode())
    except UnicodeEncodeError:  # half of a surrogate pair
        return None
    return None if authority is None or path is None else f"{scheme}://{authority}{path}"


def canonical_authority(text: str, *, scheme: str) -> str | None:
    """Return ``host[:port]`` in lower case, without the port that *scheme* means anyway."""
    bare = text.removesuffix(":")  # an empty port is the default one (RFC 3986 section 6.2.3)
    named = parse_host(bare) if bare.strip() == bare else None
    if named is None:
        return None
    host, port = named, ""
    if not named.endswith("]") and ":" in named:
        host, _, port = named.rpartition(":")
        if len(port) > _DIGITS or not 0 < int(port) <= _HIGHEST_PORT:
            return None
        port = str(int(port))
    if host.startswith("["):
        try:
            host = f"[{IPv6Address(host[1:-1])}]"
        except ValueError:
            return None
    return host if port in {"", _PORTS[scheme]} else f"{host}:{port}"


def canonical_path(raw: bytes) -> str | None:
    """Return an encoded path in its one spelling; None if it is no path.

    A character that should have been encoded and was not, as browsers leave ``|``, is encoded. An
    encoded slash stays one: it is not the separator.
    """
    if not raw:
        return "/"
    if raw[:1] != b"/":
        return None
    pieces = []
    for encoded, plain, other in _PIECE.findall(raw):
        if plain:
            pieces.append(plain.decode())
        elif encoded:
            octet = int(encoded, 16)
            pieces.append(chr(octet) if octet in _UNRESERVED else f"%{octet:02X}")
        elif other == b"%" or other[0] < _VISIBLE or other == b"\x7f":
            return None
        else:
            pieces.append(f"%{other[0]:02X}")
    return _without_dots("".join(pieces))


def _without_dots(path: str) -> str:
    """Resolve ``.`` and ``..`` (RFC 3986 section 5.2.4)."""
    if "/." not in path:
        return path
    segments = path.split("/")[1:]
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)
