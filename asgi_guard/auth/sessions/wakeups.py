"""Tells the open sockets of this process that a session may have ended: look now, do not wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from asgi_guard.auth.sessions.session import Session

__all__ = ["Wakeups"]

Wake = Callable[[], None]


class _Watch(NamedTuple):
    session: Session
    wake: Wake


class Wakeups:
    """Who waits for the end of which session; from any thread and loop."""

    def __init__(self) -> None:
        self._watches: dict[object, _Watch] = {}
        self._lock = threading.Lock()

    def subscribe(self, session: Session, wake: Wake) -> Callable[[], None]:
        """Call *wake*, which must not block, when *session* may have ended.

        Returns:
            A function that ends the subscription.
        """
        ticket = object()
        with self._lock:
            self._watches[ticket] = _Watch(session, wake)

        def unsubscribe() -> None:
            with self._lock:
                self._watches.pop(ticket, None)

        return unsubscribe

    def session(self, session_id: str) -> None:
        """Wake those who wait for one session."""
        self._wake(lambda each: each.session_id == session_id)

    def group(self, *, user_id: str | None, tenant_id: str | None) -> None:
        """Wake those who wait for sessions of a user, of a tenant, or of a user in a tenant."""
        self._wake(
            lambda each: user_id in {None, each.user_id} and tenant_id in {None, each.tenant_id}
        )

    def _wake(self, meant: Callable[[Session], bool]) -> None:
        with self._lock:
            wakes = [watch.wake for watch in self._watches.values() if meant(watch.session)]
        for wake in wakes:
            wake()
