"""The facts of a session file, written and read back; what is not believed is overwritten."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from asgi_guard.auth.sessions.file_content import Places, parsed
from asgi_guard.auth.sessions.file_memory import wipe
from asgi_guard.auth.sessions.file_session import SessionFacts
from asgi_guard.errors import AuthenticationError

__all__ = ["read", "written"]

_CLOCK_SLACK: Final = 60.0


def written(facts: SessionFacts) -> dict[str, Any]:
    """Return *facts* as JSON holds them."""
    return {**asdict(facts), "scopes": sorted(facts.scopes)}


def read(content: bytearray, *, now: float) -> tuple[SessionFacts, Places]:
    """Return the facts in *content*, and where each secret is.

    Raises:
        AuthenticationError: ``session_file_format``, ``session_expired``, or
            ``session_file_future``: it began later than now; *content* is overwritten.
    """
    try:
        about, places = parsed(content)
        facts = SessionFacts(**{**about, "scopes": frozenset(about.get("scopes", ()))})
    except (AuthenticationError, TypeError):
        wipe(content)
        raise AuthenticationError("session_file_format") from None
    if facts.ends_at <= now or facts.started_at > now + _CLOCK_SLACK:
        wipe(content)
        ended = facts.ends_at <= now  # the ring said otherwise, and nothing seals the ring
        raise AuthenticationError("session_expired" if ended else "session_file_future")
    return facts, places
