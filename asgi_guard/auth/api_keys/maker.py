"""KeyMaker: a new key and its record, within the bounds that an app has set."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Final

from asgi_guard.auth.api_keys.key_format import KeyFormat
from asgi_guard.auth.api_keys.peppers import Peppers
from asgi_guard.auth.api_keys.record import APIKey, IssuedKey, printable, scope_set
from asgi_guard.errors import ConfigError, RequestInvalidError
from asgi_guard.protocols import Clock

__all__ = ["KeyMaker"]

_CENTURY: Final = 36_525 * 86_400


class KeyMaker:
    """Make keys; stores none.

    Args:
        key_format: What they look like.
        peppers: What their digests are made with.
        scopes: That a key may have; None for any.
        max_lifetime: Seconds of the longest; None for no end.
        clock: Where "now" comes from.

    Raises:
        ConfigError: *scopes* are no scope tokens.
    """

    def __init__(
        self,
        key_format: KeyFormat,
        peppers: Peppers,
        *,
        scopes: Iterable[str] | None,
        max_lifetime: float | None,
        clock: Clock,
    ) -> None:
        self._format = key_format
        self._peppers = peppers
        self._scopes = None if scopes is None else _known_scopes(scopes)
        self._max_lifetime = max_lifetime
        self._clock = clock

    def make(
        self,
        name: str,
        tenant_id: str,
        user_id: str,
        scopes: frozenset[str],
        expires_in: float | None,
    ) -> IssuedKey:
        """Return a new key and what is stored of it.

        Raises:
            RequestInvalidError: A value is malformed, or its life too long.
        """
        now, key = self._clock.now(), self._format.new_key()
        self._check_lifetime(expires_in)
        record = APIKey(
            key_id=secrets.token_hex(8),
            name=printable(name, most=100),
            hint=key.reveal()[: len(self._format.prefix) + 4],
            digest=self._peppers.digests(key.reveal())[0],
            tenant_id=printable(tenant_id, most=128),
            user_id=printable(user_id, most=255),
            scopes=scopes,
            created_at=now,
            expires_at=None if expires_in is None else now + expires_in,
        )
        return IssuedKey(record, key)

    def _check_lifetime(self, expires_in: float | None) -> None:
        longest = self._max_lifetime
        if expires_in is None:
            if longest is not None:
                raise RequestInvalidError("lifetime_endless")
        elif not 0 < expires_in <= (_CENTURY if longest is None else longest):
            raise RequestInvalidError("lifetime_out_of_range")

    def granted(self, scopes: Iterable[str]) -> frozenset[str]:
        """Return *scopes* as a set.

        Raises:
            RequestInvalidError: One is malformed, or none that a key may have.
        """
        granted = scope_set(scopes)
        if self._scopes is not None and not granted <= self._scopes:
            raise RequestInvalidError("scope_unknown")
        return granted


def _known_scopes(scopes: Iterable[str]) -> frozenset[str]:
    try:
        return scope_set(scopes)
    except RequestInvalidError:
        raise ConfigError(
            "APIKeyService.scopes", "are no scope tokens", "Pass a list, e.g. ['notes:read']."
        ) from None
