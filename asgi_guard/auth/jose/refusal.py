"""The one way in which a token is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Final, NoReturn, TypeVar

from asgi_guard.errors import AuthenticationError, GuardError

__all__ = ["INVALID_TOKEN", "refuse", "without_frames"]

T = TypeVar("T")

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


async def without_frames(judged: Awaitable[T]) -> T:
    """Await *judged*; an error of ours comes out without the frames in which it was raised.

    Their locals hold the token, and error trackers record locals.
    """
    refused: GuardError
    try:
        return await judged
    except GuardError as error:
        refused = error.with_traceback(None)
    try:
        raise refused
    finally:
        del refused  # else the error holds the frame that holds the error
