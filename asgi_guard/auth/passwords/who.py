"""Whom the events of one password check are about, and the one way in which it tells them."""

from __future__ import annotations

from typing import NamedTuple

from asgi_guard._internal.events import emit

__all__ = ["Who"]


class Who(NamedTuple):
    """Whom the events of one check are about.

    Args:
        user_id: The user, named by the events of a match alone.
        client: The client's address.
        request_id: Of the request.
    """

    user_id: str | None
    client: str | None
    request_id: str | None

    def unproven(self) -> Who:
        """Return the same without the user: an event names nobody who has not proven it."""
        return self._replace(user_id=None)

    def tell(self, name: str, outcome: str, reason: str = "", **details: str | None) -> None:
        """Leave one event."""
        emit(
            name,
            outcome=outcome,
            reason=reason,
            details=details,
            user_id=self.user_id,
            client=self.client,
            request_id=self.request_id,
        )
