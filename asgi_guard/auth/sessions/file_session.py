"""LocalSession: an open session of a person's machine, whose secrets end with its block."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import NoReturn, Self

from asgi_guard.auth.sessions.file_content import Places
from asgi_guard.auth.sessions.file_memory import dispose, keep_from_swap
from asgi_guard.errors import AuthenticationError
from asgi_guard.protocols import Clock

__all__ = ["LocalSession", "SessionFacts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFacts:
    """What may be shown of a session.

    Args:
        issuer: Who issued its tokens.
        client_id: To which client (RFC 6749 section 2.2).
        scopes: What they grant.
        started_at: Unix seconds of the login.
        ends_at: Unix seconds from which on nothing of it can be read.
        access_ends_at: Unix seconds from which on its access token is refused by its issuer, if
            that is earlier.
    """

    issuer: str
    client_id: str
    scopes: frozenset[str] = frozenset()
    started_at: float
    ends_at: float
    access_ends_at: float | None = None


class LocalSession:
    """Facts and secrets of one session; use it as a context manager.

    ::

        with store.load() as session:
            send(session.reveal("access_token"))

    At the end of the block, and at the end of the session, the secrets are overwritten. ``mark``
    is another for each time that a session is saved, and no secret.
    """

    __slots__ = ("_clock", "_content", "_places", "facts", "mark")

    def __init__(
        self,
        facts: SessionFacts,
        content: bytearray,
        places: Places,
        *,
        mark: bytes = b"",
        clock: Clock,
    ) -> None:
        self.facts = facts
        self.mark = mark
        keep_from_swap(content)
        self._content = content
        self._places = places
        self._clock = clock

    @property
    def seconds_left(self) -> float:
        """How long it lasts; 0 when it has ended."""
        return max(0.0, self.facts.ends_at - self._clock.now())

    @property
    def secrets(self) -> frozenset[str]:
        """Names of what it holds, e.g. ``access_token``."""
        return frozenset(self._places)

    def has(self, name: str) -> bool:
        """Tell whether a secret is there and has not ended."""
        try:
            self.view(name)
        except AuthenticationError:
            return False
        return True

    def view(self, name: str) -> memoryview:
        """Return a secret without a copy; it reads as zeros once the session is closed.

        Raises:
            AuthenticationError: ``session_closed``, ``session_expired``,
                ``session_secret_missing``, or, for the access token, ``session_access_expired``.
        """
        if not self._content:
            raise AuthenticationError("session_closed")
        if not self.seconds_left:
            self.close()
            raise AuthenticationError("session_expired")
        if name not in self._places:
            raise AuthenticationError("session_secret_missing")
        access_ends = self.facts.access_ends_at
        if name == "access_token" and access_ends is not None and access_ends <= self._clock.now():
            raise AuthenticationError("session_access_expired")
        return memoryview(self._content)[self._places[name]].toreadonly()

    def reveal(self, name: str) -> str:
        """Return a secret as text: a copy that stays in memory as long as Python likes.

        Raises:
            AuthenticationError: As for `view`.
        """
        return str(self.view(name), "utf-8")

    def close(self) -> None:
        """Overwrite the secrets; harmless when done twice."""
        dispose(self._content)
        self._content = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        with suppress(Exception):  # at the interpreter's end nothing is sure to be there
            self.close()

    def __repr__(self) -> str:
        return f"LocalSession({self.facts!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a LocalSession is not serialised; save it with FileSessionStore")
