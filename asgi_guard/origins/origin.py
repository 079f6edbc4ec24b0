"""Origin: scheme, host and port of a page, in the one spelling browsers send (RFC 6454).

Two directions, two rules. What a developer writes is *normalised*: case, default port and
international names are mended, everything that is more than an origin is refused with the fix.
What arrives in a request is *never mended*: browsers serialise an origin in exactly one way
(RFC 6454 section 6.2, WHATWG URL "origin"), so any other spelling did not come from one.
"""

from __future__ import annotations

import ipaddress
import re
import warnings
from dataclasses import dataclass
from typing import Final, NoReturn

from asgi_guard.errors import ConfigError
from asgi_guard.origins.host import normalise_host

__all__ = ["MAX_ORIGIN_BYTES", "Origin", "OriginWarning"]

MAX_ORIGIN_BYTES: Final = 300
"""A host is at most 253 characters (RFC 1035 section 2.3.4); the rest is scheme and port."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*\Z")
_PORT = re.compile(r"[0-9]{1,5}\Z")
_HIGHEST_PORT = 65535
_OPAQUE_SCHEMES = frozenset({"about", "blob", "data", "file", "filesystem", "javascript"})
_SOCKET_SCHEMES = {"ws": "http", "wss": "https"}


class OriginWarning(UserWarning):
    """An origin was written in a way that could be mended; the message says how it was read."""


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """A parsed origin; equal when the browser would call them the same (RFC 6454 section 5).

    Args:
        scheme: Lower-case, e.g. ``"https"``.
        host: Lower-case ASCII name (IDNA form), dotted IPv4, or IPv6 in brackets.
        port: None when it is the scheme's default.
    """

    scheme: str
    host: str
    port: int | None = None

    @classmethod
    def parse(cls, text: str, *, setting: str = "origins.allow_origins") -> Origin:
        """Read an origin as a developer writes it, and normalise it.

        Args:
            text: E.g. ``"https://app.example.com"`` or ``"https://Bücher.example:443"``.
            setting: Name of the setting, for the error.

        Raises:
            ConfigError: *text* is not an origin; the remedy is what to write instead.

        Warns:
            OriginWarning: *text* ended in ``/``, which is no part of an origin.
        """
        scheme, rest = _split_scheme(text, setting)
        authority = _without_tail(text, scheme, rest, setting)
        if "@" in authority:
            fix = f"{scheme}://{authority.rpartition('@')[2]}"
            _refuse(setting, text, "carries user information", f"Write {fix!r}.")
        host, port = _split_port(text, authority, setting)
        if "*" in host:
            _refuse(setting, text, "is a pattern, not one origin", "Name one host.")
        return cls(
            scheme,
            normalise_host(host, setting=setting),
            None if port == _DEFAULT_PORTS.get(scheme) else port,
        )

    def serialize(self) -> str:
        """Return the origin as a browser sends it, e.g. ``"https://app.example.com:8443"``."""
        if self.port is None:
            return f"{self.scheme}://{self.host}"
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Tell whether a page of this origin is served from the visitor's own machine.

        ``localhost`` and names under it, loopback and unspecified addresses, over http(s). The
        ``capacitor://localhost`` of a packaged app is that app, not a development server.
        """
        if self.scheme not in _DEFAULT_PORTS:
            return False
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(self.host.strip("[]"))
        except ValueError:
            return False
        return address.is_loopback or address.is_unspecified

    def __str__(self) -> str:
        return self.serialize()


def _split_scheme(text: str, setting: str) -> tuple[str, str]:
    if not isinstance(text, str):
        raise ConfigError(setting, f"holds a {type(text).__name__}", "Write origins as strings.")
    if text == "null":
        _refuse(setting, text, "is shared by every sandboxed frame", "Set allow_null=True instead.")
    if text != text.strip() or not text.isprintable():
        _refuse(setting, text, "holds white space or a control character", "Remove it.")
    if "," in text or " " in text:
        _refuse(setting, text, "is several origins in one string", "Write a list of strings.")
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if scheme in _OPAQUE_SCHEMES or scheme.partition(":")[0] in _OPAQUE_SCHEMES:
        _refuse(setting, text, "sends the origin 'null'", "Serve the page over https.")
    if not separator:
        _refuse(setting, text, "has no scheme", f"Write 'https://{text}'.")
    if scheme in _SOCKET_SCHEMES:
        fix = f"{_SOCKET_SCHEMES[scheme]}://{rest}"
        _refuse(setting, text, "names a socket; pages have origins", f"Write {fix!r}.")
    if not _SCHEME.match(scheme):
        _refuse(setting, text, "has no valid scheme", "Use scheme://host[:port].")
    return scheme, rest


def _without_tail(text: str, scheme: str, rest: str, setting: str) -> str:
    found = re.search(r"[/?#\\]", rest)
    if found is None:
        return rest
    authority, tail = rest[: found.start()], rest[found.start() :]
    fix = f"{scheme}://{authority}"
    if tail == "/" and authority:
        warnings.warn(
            f"{setting}: {text!r} is read as {fix!r}: an origin ends without a slash",
            OriginWarning,
            stacklevel=2,
        )
        return authority
    part = {"?": "a query", "#": "a fragment"}.get(tail[0], "a path")
    return _refuse(setting, text, f"carries {part}", f"Write {fix!r}.")


def _split_port(text: str, authority: str, setting: str) -> tuple[str, int | None]:
    name, colon, digits = authority.rpartition(":")
    if not colon or authority.endswith("]"):
        return authority, None
    if not _PORT.match(digits) or not 0 < int(digits) <= _HIGHEST_PORT:
        _refuse(setting, text, "has no valid port", "Use a port from 1 to 65535, or none.")
    return name, int(digits)


def _refuse(setting: str, text: str, problem: str, remedy: str) -> NoReturn:
    raise ConfigError(setting, f"{text!r} {problem}", remedy)
