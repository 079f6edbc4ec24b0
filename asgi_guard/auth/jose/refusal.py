"""The one way in which a token is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from types import TracebackType
from typing import Final, NoReturn, TypeVar

from asgi_guard.errors import AuthenticationError, GuardError

__all__ = ["INVALID_TOKEN", "refuse", "without_frames"]

T = TypeVar("T")
_OURS: Final = "asgi_guard."

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
    """Await *judged*; an error comes out without the frames of ours in which it was raised.

    Their locals hold the token, and error trackers record locals. What an app's own hook or store
    raises keeps the app's frames; a mistake of ours keeps the place, as a note.
    """
    refused: Exception
    try:
        return await judged
    except GuardError as error:
        refused = error.with_traceback(None)
    except Exception as error:  # noqa: BLE001 - raised again below
        refused = error.with_traceback(_foreign(error))
    try:
        raise refused
    finally:
        del refused  # else the error holds the frame that holds the error


def _foreign(error: Exception) -> TracebackType | None:
    trace, place = error.__traceback__, ""
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith(_OURS):
        place = f"{trace.tb_frame.f_code.co_qualname}, line {trace.tb_lineno}"
        trace = trace.tb_next
    if trace is None and place:
        error.add_note(f"In {place}; the frames are left out, for they hold a token.")
    return trace
