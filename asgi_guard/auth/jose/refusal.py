"""The one way in which a token is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NoReturn

from asgi_guard.errors import AuthenticationError

__all__ = ["INVALID_TOKEN", "refuse"]

INVALID_TOKEN: Final = ((b"www-authenticate", b'Bearer error="invalid_token"'),)  # RFC 6750, 3.1


def refuse(reason: str, details: Mapping[str, str] | None = None) -> NoReturn:
    """Refuse a token.

    Args:
        reason: Stable word for the operator's event; nothing of the token.
        details: What the event may say of the token.

    Raises:
        AuthenticationError: Always. Call it outside of any ``except`` block, so that no decoder's
            error, which quotes its input, hangs on it.
    """
    refusal = AuthenticationError(reason, headers=INVALID_TOKEN)
    refusal.details = details or {}
    raise refusal
