"""Peppers: what turns a key into the digest that is stored.

A key has 178 random bits, so a fast keyed hash is enough: nobody guesses it. The pepper is for
whoever can write to the table but not to the app: without it no row can be made that opens
anything (CWE-916 does not apply, CWE-345 does).
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from asgi_guard.errors import ConfigError
from asgi_guard.secret import Secret

__all__ = ["Peppers"]

_LEAST: Final = 32
_PURPOSE: Final = b"asgi-guard api key 1\0"  # the pepper's other uses, if any, are not this one


class Peppers:
    """HMAC-SHA-256 under the current pepper and the ones before it.

    Args:
        current: New keys are stored under this one; at least 32 bytes.
        previous: Keys that were stored under these are still found.

    Raises:
        ConfigError: One is too short, is no `Secret`, or was given twice.
    """

    __slots__ = ("_peppers",)

    def __init__(self, current: Secret, previous: Sequence[Secret] = ()) -> None:
        self._peppers = (current, *previous)
        for each in self._peppers:
            if not isinstance(each, Secret):
                raise ConfigError("api_keys.pepper", "is no Secret", "Pass Secret(value).")
            if len(each.reveal().encode()) < _LEAST:
                raise ConfigError(
                    "api_keys.pepper",
                    "is shorter than 32 bytes",
                    "Make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
                )
        if len({each.reveal() for each in self._peppers}) != len(self._peppers):
            raise ConfigError("api_keys.pepper", "is listed twice", "List each once.")

    def digests(self, key: str) -> tuple[bytes, ...]:
        """Return the digest of *key* under each pepper, the current one first."""
        message = _PURPOSE + key.encode()
        return tuple(
            hmac.digest(each.reveal().encode(), message, sha256().name) for each in self._peppers
        )
