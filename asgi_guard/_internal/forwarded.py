"""What a proxy wrote about the connection it received: ``Forwarded`` and ``X-Forwarded-For``.

Pure parsing; whom to believe is decided in `proxies`. Every function is strict: a value that does
not follow its grammar yields None, because a half-understood hop is how one layer comes to
believe another address than the next.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple

__all__ = ["Hop", "IPAddress", "parse_address", "parse_forwarded", "parse_host", "parse_proto"]

IPAddress = IPv4Address | IPv6Address

_LONGEST: Final = 8192  # characters of one field; chains of proxies are short

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110 section 5.6.2, no password
_QUOTED = r'"(?:[\t !#-\[\]-~]|\\[\t -~])*"'
_PAIR = re.compile(rf"({_TOKEN})=({_TOKEN}|{_QUOTED})")
_ESCAPED = re.compile(r"\\(.)")

_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_NODE_V4 = re.compile(r"([0-9.]{7,15})(?::[0-9]{1,5})?")
_NODE_V6 = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?")
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9._-]{0,252})|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")


class Hop(NamedTuple):
    """One element of ``Forwarded``: what one proxy says about the request that reached it."""

    client: str | None
    host: str | None
    proto: str | None


def parse_forwarded(text: str) -> list[Hop] | None:
    """Split a ``Forwarded`` value into its hops, farthest first (RFC 7239 section 4).

    Args:
        text: All ``Forwarded`` lines of one request, joined by commas in order.

    Returns:
        The hops, or None when any part breaks the grammar or names a parameter twice.
    """
    if len(text) > _LONGEST:
        return None
    hops: list[Hop] = []
    pairs: dict[str, str] = {}
    position, end = 0, len(text)
    while position < end:
        found = _PAIR.match(text, position)
        if found is None or found[1].lower() in pairs:
            return None
        pairs[found[1].lower()] = _unquoted(found[2])
        position, separator = _separator(text, found.end())
        if separator == ";":
            continue
        hops.append(Hop(pairs.get("for"), pairs.get("host"), pairs.get("proto")))
        pairs = {}
        if separator is None:
            return hops if position == end else None
    return None  # empty, or it ends in a separator


def _separator(text: str, position: int) -> tuple[int, str | None]:
    """Return where the next pair starts, and which of ``;`` and ``,`` stands before it."""
    while position < len(text) and text[position] in " \t":
        position += 1
    separator = text[position : position + 1]
    if separator not in {";", ","}:
        return position, None
    position += 1
    while position < len(text) and text[position] in " \t":
        position += 1
    return position, separator


def _unquoted(value: str) -> str:
    return _ESCAPED.sub(r"\1", value[1:-1]) if value.startswith('"') else value


def parse_proto(text: str) -> str | None:
    """Return ``"http"`` or ``"https"`` for one scheme, WebSocket's included; None for others.

    A list such as ``https, http`` is refused: it does not say which hop meant which.
    """
    return _SCHEMES.get(text.strip(" \t").lower())


def parse_host(text: str) -> str | None:
    """Return ``host[:port]`` in lower case, or None when it is no host (RFC 9110 section 7.2)."""
    lowered = text.strip(" \t").lower()
    return lowered if _HOST.fullmatch(lowered) else None


def parse_address(node: str) -> IPAddress | None:
    """Return the IP address of a hop, without its port; None for names and obfuscated nodes.

    Takes ``192.0.2.7``, ``192.0.2.7:4711``, ``2001:db8::7``, ``[2001:db8::7]:4711`` (RFC 7239
    section 6). An IPv4 address that arrives mapped into IPv6 is returned as IPv4, so that a
    listener on ``::`` sees the same proxy as one on ``0.0.0.0``.
    """
    node = node.strip(" \t")
    inner = _NODE_V4.fullmatch(node) or _NODE_V6.fullmatch(node)
    try:
        address = ip_address(inner[1] if inner else node)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
