"""LoginSessions: what this room needs of the app's sessions, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from asgi_guard.auth.oidc.verified_login import VerifiedLogin
from asgi_guard.protocols import Scope

__all__ = ["LoginSessions", "StartedSession"]

Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedSession:
    """A session that a login began.

    Args:
        reference: By which it can be ended later; 1 to 255 visible ASCII characters. Not the
            cookie's value, nor anything from which that could be made: it is kept in the store.
        seconds: Longest that the session may live.
        user_id: The app's own name of the user, for the event.
        session_id: As events of the session name it, before they hash it.
        headers: For the response: the cookie.
    """

    reference: str
    seconds: float
    user_id: str | None = None
    session_id: str | None = None
    headers: Sequence[Header] = field(default=(), repr=False)


@runtime_checkable
class LoginSessions(Protocol):
    """The app's sessions, as a login sees them.

    `asgi_guard.auth.sessions` fits through `SessionLogins`; so does anything with these methods.
    """

    async def start(self, scope: Scope, login: VerifiedLogin) -> StartedSession:
        """Begin a session for who came back.

        It has a new id whatever cookie the browser brought, and the session behind that cookie
        ends (session fixation, CWE-384).

        Args:
            scope: Of the callback's request.
            login: Who it is, and at which tenant.

        Raises:
            RejectionError: This account may not log in here; no session was made.
            UnavailableError: It cannot be decided or stored now.
        """

    async def leave(self, scope: Scope) -> str | None:
        """End the session whose cookie *scope* brings, and return its reference.

        Returns:
            None if there is no such session, or it did not begin with `start`.

        Raises:
            RejectionError: The cookie is ambiguous.
            UnavailableError: It could not be ended now.
        """

    async def end(self, reference: str) -> None:
        """End a session; one that has ended already is no error.

        Raises:
            UnavailableError: It could not be ended now.
        """

    def farewell(self) -> Sequence[Header]:
        """Return the headers that take the cookie from a browser which logs out."""
