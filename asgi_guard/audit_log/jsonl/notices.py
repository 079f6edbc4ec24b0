"""What the writer itself puts on record: an end that was set aside, segments that expired."""

from __future__ import annotations

from typing import Any

from asgi_guard._internal.clock import utc
from asgi_guard.audit_log.canonical import event_fields
from asgi_guard.audit_log.jsonl.recovery import TornTail
from asgi_guard.audit_log.jsonl.segments import Segment
from asgi_guard.protocols import Clock, SecurityEvent

__all__ = ["expired_event", "torn_event"]


def torn_event(tail: TornTail, digest: str, clock: Clock) -> dict[str, Any]:
    """Tell of an end that a killed writer left."""
    return event_fields(
        SecurityEvent(
            name="AUDIT_LOG_RECOVERED",
            outcome="error",
            reason="torn_tail",
            time=utc(clock.now()),
            details={"segment": tail.segment.number, "bytes": tail.size, "sha256": digest},
        )
    )


def expired_event(expired: list[Segment], clock: Clock) -> dict[str, Any]:
    """Tell which segments retention deletes."""
    details = {"first": expired[0].number, "last": expired[-1].number}
    return event_fields(
        SecurityEvent(
            name="AUDIT_SEGMENTS_EXPIRED",
            outcome="allowed",
            reason="retention",
            time=utc(clock.now()),
            details=details,
        )
    )
