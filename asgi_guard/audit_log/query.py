"""AuditQuery: which records somebody wants to see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asgi_guard.audit_log.canonical import time_text
from asgi_guard.errors import ConfigError

__all__ = ["AuditQuery"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery:
    """Conditions that must all hold; None asks for nothing.

    Args:
        since: Not before this moment (aware).
        until: Before this moment (aware).
        tenant_id: Of this tenant; ``""`` for events without one.
        user_id: Of this user.
        name: Event name, e.g. ``"TENANT_MISMATCH"``.
        outcome: ``"allowed"``, ``"denied"`` or ``"error"``.
        after: The ``cursor`` of a record; what comes after it.
        limit: At most so many.

    Raises:
        ConfigError: A moment has no time zone, or the limit is not positive.
    """

    since: datetime | None = None
    until: datetime | None = None
    tenant_id: str | None = None
    user_id: str | None = None
    name: str | None = None
    outcome: str | None = None
    after: str | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        for moment in (self.since, self.until):
            if moment is not None:
                time_text(moment)
        if self.limit is not None and self.limit < 1:
            raise ConfigError("AuditQuery.limit", f"{self.limit}", "Use 1 or more, or None.")

    def matches(self, fields: Mapping[str, Any]) -> bool:
        """Tell whether a stored event meets every condition but *after* and *limit*."""
        if self.tenant_id is not None and (fields["tenant_id"] or "") != self.tenant_id:
            return False
        for name in ("user_id", "name", "outcome"):
            wanted = getattr(self, name)
            if wanted is not None and fields[name] != wanted:
                return False
        # Texts of one fixed form in UTC sort as the moments do.
        if self.since is not None and fields["time"] < time_text(self.since):
            return False
        return self.until is None or fields["time"] < time_text(self.until)
