"""Lists of methods and header names in a policy: checked when built, not when attacked."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from asgi_guard.errors import ConfigError

__all__ = ["EVERYTHING", "TOKEN", "header_names", "method_names"]

EVERYTHING: Final = "*"
TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
"""A token of RFC 9110 section 5.6.2."""

_EVERY_METHOD: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY")
# Fetch section 2.2.1: no page may send these, so listing them is a misunderstanding.
_FORBIDDEN_METHODS: Final = frozenset({"CONNECT", "TRACE", "TRACK"})


def method_names(given: Collection[str], *, credentials: bool) -> frozenset[bytes]:
    """Return the methods to grant; ``["*"]`` is the registered ones (RFC 9110, RFC 10008).

    Raises:
        ConfigError: An entry is not a method that a page can send, or ``*`` was combined with
            credentials, where browsers read it as the name of a method.
    """
    setting = "cors.allow_methods"
    names = _entries(given, setting, credentials=credentials)
    if names == (EVERYTHING,):
        names = _EVERY_METHOD
    for name in names:
        if name in _FORBIDDEN_METHODS:
            raise ConfigError(setting, f"{name!r} cannot be sent by a page", "Remove it.")
        if name != name.upper():
            raise ConfigError(
                setting, f"{name!r} is not in upper case; case matters", f"Write {name.upper()!r}."
            )
    return frozenset(name.encode() for name in names)


def header_names(
    given: Collection[str], *, setting: str, credentials: bool
) -> tuple[bool, frozenset[bytes]]:
    """Return whether ``*`` was listed, and the other names in lower case.

    Raises:
        ConfigError: An entry is not a field name, or ``*`` was combined with credentials.
    """
    names = _entries(given, setting, credentials=credentials)
    return EVERYTHING in names, frozenset(
        name.lower().encode() for name in names if name != EVERYTHING
    )


def _entries(given: Collection[str], setting: str, *, credentials: bool) -> tuple[str, ...]:
    if isinstance(given, str | bytes):
        raise ConfigError(setting, f"is one string, {given!r}", f"Write a list: [{given!r}].")
    names = tuple(given)
    for name in names:
        if not isinstance(name, str) or not name.isascii() or not TOKEN.match(name.encode()):
            raise ConfigError(setting, f"{name!r} is not a token", "Use a plain name (RFC 9110).")
    if EVERYTHING in names and credentials:
        raise ConfigError(
            setting,
            "'*' with allow_credentials means the literal name '*' to a browser",
            "List the names.",
        )
    if EVERYTHING in names and len(names) > 1 and setting == "cors.allow_methods":
        raise ConfigError(setting, "'*' stands beside others", "Keep '*' alone, or drop it.")
    return names
