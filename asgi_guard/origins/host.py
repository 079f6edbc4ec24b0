"""Host names as browsers serialise them: lower case, IDNA, canonical addresses (WHATWG URL)."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from asgi_guard.errors import ConfigError

__all__ = ["LABEL", "normalise_host"]

LABEL: Final = re.compile(rb"[a-z0-9_-]{1,63}\Z")
"""One label as browsers send it. Underscores occur in DNS and browsers accept them."""

_MAX_HOST: Final = 253
_NUMERIC = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")
_REMEDY: Final = "Use a DNS name or an IP address, without a trailing dot."


def normalise_host(host: str, *, setting: str) -> str:
    """Return *host* as it appears in an ``Origin`` header.

    International names become their ``xn--`` form by UTS 46, non-transitional, as in browsers.

    Args:
        host: A name, dotted IPv4, or IPv6 in brackets.
        setting: Name of the setting, for the error.

    Raises:
        ConfigError: No browser would send this host.
    """
    if host.startswith("["):
        return _ipv6(host, setting)
    name = (host if host.isascii() else _to_ascii(host, setting)).lower()
    labels = name.split(".")
    if len(name) > _MAX_HOST or not all(LABEL.match(label.encode()) for label in labels):
        raise ConfigError(setting, f"{host!r} is not a host name", _REMEDY)
    if _NUMERIC.match(labels[-1]):
        # WHATWG reads any name that ends in a number as IPv4: 127.1 and 0x7f000001 are loopback.
        return _ipv4(name, setting)
    return name


def _to_ascii(host: str, setting: str) -> str:
    import idna  # noqa: PLC0415 - 8 ms of tables, for the few who write a name in its own script

    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError as invalid:
        raise ConfigError(setting, f"{host!r} is not a valid host name", _REMEDY) from invalid


def _ipv4(name: str, setting: str) -> str:
    try:
        return str(ipaddress.IPv4Address(name))
    except ValueError as invalid:
        raise ConfigError(
            setting, f"{name!r} is not a dotted IPv4 address", "Write it as 203.0.113.7."
        ) from invalid


def _ipv6(host: str, setting: str) -> str:
    try:
        if not host.endswith("]") or "%" in host:
            raise ValueError(host)  # noqa: TRY301 - one refusal for all malformed addresses
        return f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
    except ValueError as invalid:
        raise ConfigError(
            setting, f"{host!r} is not an IPv6 address", "Write it as [2001:db8::7]."
        ) from invalid
