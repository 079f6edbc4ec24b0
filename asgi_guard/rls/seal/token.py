"""The sealed value itself: who, on which connection, until when, and a signature over all of it."""

from __future__ import annotations

import hmac
from typing import Final

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Clock
from asgi_guard.rls.seal.keys import KEY_ID_LENGTH, SealKeys

__all__ = ["HEAD_LENGTH", "MAC_LENGTH", "MAX_LIFETIME", "VERSION", "Sealer"]

VERSION: Final = "s1"
MAX_LIFETIME: Final = 120
"""Seconds. The database accepts no token that lives longer, whoever signed it."""

_END_DIGITS: Final = 16  # microseconds since 1970, until the year 2286
_BACKEND_DIGITS: Final = 10
_LENGTH_DIGITS: Final = 4
MAC_LENGTH: Final = 64  # hexadecimal digits
HEAD_LENGTH: Final = len(VERSION) + KEY_ID_LENGTH + _END_DIGITS + _BACKEND_DIGITS + _LENGTH_DIGITS


class Sealer:
    """Signs contexts for one set of keys.

    A token is text of fixed widths, so that nothing in an id can shift its parts: version, key
    id, end, server process, length of the tenant id, signature, tenant id, user id. The signature
    is HMAC-SHA-256 over everything else.

    Args:
        keys: The first signs.
        lifetime: Seconds for which a transaction may begin under a token, counted by the
            database's clock.
        clock: Unix seconds. It must agree with the database's to well within *lifetime*.

    Raises:
        ConfigError: *lifetime* is not between 1 and 60.
    """

    __slots__ = ("_clock", "_key_id", "_secret", "lifetime")

    def __init__(
        self, keys: SealKeys, *, lifetime: float = 30, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        if not 1 <= lifetime <= MAX_LIFETIME / 2:  # the other half is for clocks that differ
            raise ConfigError(
                "Sealer.lifetime", f"is {lifetime}", f"Pass 1 to {MAX_LIFETIME // 2} seconds."
            )
        self._key_id = keys.signing.key_id
        self._secret = keys.signing.secret
        self.lifetime = lifetime
        self._clock = clock

    def seal(self, tenant_id: str, user_id: str, *, backend: int) -> str:
        """Sign one context.

        Args:
            tenant_id: As the database knows it.
            user_id: Any text that the database can store.
            backend: ``pg_backend_pid()`` of the connection; 0 for any, behind a pooler.

        Raises:
            ValueError: An id cannot be stored, or the tenant id is longer than 9,999 characters.
        """
        if "\0" in user_id or "\0" in tenant_id or len(tenant_id) >= 10**_LENGTH_DIGITS:
            raise ValueError("an id cannot be carried")
        ends = int((self._clock.now() + self.lifetime) * 1_000_000)
        head = f"{VERSION}{self._key_id}{ends:016d}{backend:010d}{len(tenant_id):04d}"
        signed = f"{head}{tenant_id}{user_id}".encode()  # UnicodeEncodeError is a ValueError
        mac = hmac.digest(self._secret, signed, "sha256").hex()
        return f"{head}{mac}{tenant_id}{user_id}"
