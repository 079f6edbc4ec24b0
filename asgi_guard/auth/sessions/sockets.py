"""Sockets that a session opened, and that end with it."""

from __future__ import annotations

from asgi_guard.auth.sessions.service import SessionService
from asgi_guard.auth.sessions.session import Session
from asgi_guard.auth.socket_lease import lease_of
from asgi_guard.protocols import Scope

__all__ = ["watch_session"]


def watch_session(scope: Scope, sessions: SessionService, session: Session) -> None:
    """Let the WebSocket of *scope* end with *session*.

    At once where the session is ended in this process, and otherwise at the next check. What the
    client sends counts as use of the session; an open socket and what the app sends do not.
    """
    session_id = session.session_id

    async def check(heard: bool) -> None:  # noqa: FBT001 - the lease's own signature
        await sessions.check(session_id, used=heard)

    lease = lease_of(scope)
    lease.check = check
    lease.subscribe = lambda wake: sessions.wakeups.subscribe(session, wake)
    lease.expires_at = session.expires_at
    lease.every, lease.ticker = sessions.limits.check_sockets_every, sessions.ticker
    lease.clock = sessions.clock
