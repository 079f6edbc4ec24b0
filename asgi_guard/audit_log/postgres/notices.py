"""What the sink itself puts on record: that retention deleted something."""

from __future__ import annotations

from typing import Any

from asgi_guard._internal.clock import utc
from asgi_guard.audit_log.canonical import event_fields
from asgi_guard.protocols import Clock, SecurityEvent

__all__ = ["retention_event"]


def retention_event(records: int, first: int, clock: Clock) -> dict[str, Any]:
    """Tell how many records retention deletes, and with which checkpoint the log begins now."""
    return event_fields(
        SecurityEvent(
            name="AUDIT_SEGMENTS_EXPIRED",
            outcome="allowed",
            reason="retention",
            time=utc(clock.now()),
            details={"records": records, "first_checkpoint": first},
        )
    )
