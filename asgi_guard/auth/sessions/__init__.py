"""Server-side sessions: what a browser holds is a random number, and what it opens ends on time.

Protects against whoever fixes, guesses, steals or keeps a session id: it is 256 random bits, kept
nowhere but in the browser, new at login and at any change of privilege, dead after 15 idle minutes,
12 hours, a logout, or one write that ends all of a user or tenant. WebSockets are signed in with
the same identity and closed when it ends.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth.sessions.app import SessionNotFoundError, session_app
from asgi_guard.auth.sessions.authenticator import SessionAuthenticator
from asgi_guard.auth.sessions.bearer import WebSocketBearer
from asgi_guard.auth.sessions.cookie import SessionCookie
from asgi_guard.auth.sessions.limits import SessionLimits
from asgi_guard.auth.sessions.service import SessionService
from asgi_guard.auth.sessions.session import IssuedSession, Session, SessionState
from asgi_guard.auth.sessions.states import SessionStateTooLargeError
from asgi_guard.auth.sessions.tickets import TicketAuthenticator, WebSocketTicket, WebSocketTickets

if TYPE_CHECKING:
    from asgi_guard.auth.sessions.file_required import requires_session
    from asgi_guard.auth.sessions.file_session import LocalSession, SessionFacts
    from asgi_guard.auth.sessions.file_store import FileSessionStore

__all__ = [
    "FileSessionStore",
    "IssuedSession",
    "LocalSession",
    "MemoryStore",
    "Session",
    "SessionAuthenticator",
    "SessionCookie",
    "SessionFacts",
    "SessionLimits",
    "SessionNotFoundError",
    "SessionService",
    "SessionState",
    "SessionStateTooLargeError",
    "TicketAuthenticator",
    "WebSocketBearer",
    "WebSocketTicket",
    "WebSocketTickets",
    "requires_session",
    "session_app",
]

_LATER: Final = {
    "FileSessionStore": "file_store",
    "LocalSession": "file_session",
    "SessionFacts": "file_session",
    "requires_session": "file_required",
}


def __getattr__(name: str) -> Any:
    """Load cryptography only for programs that keep a session in a file (PEP 562)."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
