"""Addresses that a login depends on: https, or plain http on loopback by an explicit option."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

__all__ = ["address_problem"]

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_LONGEST: Final = 2048


def address_problem(url: object, *, allow_http: bool) -> str:  # noqa: PLR0911 - one line per rule
    """Say what is wrong with *url*, or return the empty string.

    Args:
        url: What was configured, or what a provider's metadata names.
        allow_http: Whether ``http://`` will do, on loopback.
    """
    if not isinstance(url, str) or not 0 < len(url) <= _LONGEST:
        return "is no address"
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return "has characters that no address has"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no address"
    if not host:
        return "names no host"
    if "@" in parts.netloc:
        return "has user information in it"
    if "#" in url:
        return "has a fragment"
    if parts.scheme == "https":
        return ""
    if parts.scheme == "http" and allow_http and (host in _LOOPBACK or host.endswith(".localhost")):
        return ""
    return "is no https:// address"
