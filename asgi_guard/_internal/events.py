"""The one event stream: `emit` writes, every subscribed `EventSink` reads.

With no subscriber events go to the structlog logger ``asgi_guard.security``, so that nothing is
silent by default. A sink that fails must not let a refusal through or stop the other sinks: its
error is logged and counted, and the request goes on as decided.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import fields

import structlog

from asgi_guard._internal.clock import SYSTEM_CLOCK, utc
from asgi_guard._internal.redaction import redact_details
from asgi_guard._internal.tracing import current_trace_id
from asgi_guard.protocols import Clock, EventSink, SecurityEvent

__all__ = ["LogSink", "emit", "routine_wanted", "subscribe"]

_TAKEN = frozenset(item.name for item in fields(SecurityEvent)) | {
    "event",
    "event_time",
    "level",
    "logger",
    "self",
    "timestamp",
}
# For tracebacks: structlog's console renderer shows local variables, and with them the headers
# of the request that the event is about; the standard logger shows none.
_faults = logging.getLogger("asgi_guard")


class LogSink:
    """The default reader: one structured log line per event."""

    def emit(self, event: SecurityEvent) -> None:
        """Log the fields that are set; a refusal as a warning, an error as an error."""
        known = {
            item.name: value
            for item in fields(event)
            if item.name not in {"name", "details", "time"}
            and (value := getattr(event, item.name)) not in (None, "")
        }
        level = {"allowed": "info", "denied": "warning"}.get(event.outcome, "error")
        # A detail must not take the place of a field, nor break the call by its name.
        details = {
            f"detail_{key}" if key in _TAKEN else key: value for key, value in event.details.items()
        }
        # Asked for at each event: a cached logger would not hear of a later configuration.
        log = structlog.stdlib.get_logger("asgi_guard.security")
        getattr(log, level)(event.name, event_time=event.time.isoformat(), **details, **known)


_DEFAULT: tuple[EventSink, ...] = (LogSink(),)
_sinks: tuple[EventSink, ...] = _DEFAULT
_routine: tuple[EventSink, ...] = ()
sink_failures = 0


def subscribe(sink: EventSink) -> Callable[[], None]:
    """Add *sink* to the readers of the process's event stream.

    The first subscriber replaces the default log reader; subscribe a `LogSink` to keep it. A sink
    whose attribute ``routine`` is true also gets routine events: one for each request that went
    well.

    Returns:
        A function that takes the sink out again.
    """
    global _sinks  # noqa: PLW0603 - one stream per process is the point; the tuple is swapped whole
    _sinks = (sink,) if _sinks is _DEFAULT else (*_sinks, sink)
    _sort_out()

    def unsubscribe() -> None:
        global _sinks  # noqa: PLW0603 - as above
        _sinks = tuple(kept for kept in _sinks if kept is not sink) or _DEFAULT
        _sort_out()

    return unsubscribe


def routine_wanted() -> bool:
    """Tell whether some reader wants routine events; ask before building one on the hot path."""
    return bool(_routine)


def emit(
    name: str,
    *,
    outcome: str,
    reason: str = "",
    routine: bool = False,
    clock: Clock = SYSTEM_CLOCK,
    details: Mapping[str, str | int | float | bool | None] | None = None,
    **who: str | None,
) -> None:
    """Build one `SecurityEvent` and hand it to every reader.

    Args:
        name: Stable event name.
        outcome: ``"allowed"``, ``"denied"`` or ``"error"``.
        reason: Stable reason code.
        routine: Hand it only to readers that want routine events.
        clock: Where the event's time comes from.
        details: Plain values without secrets; what looks like one is replaced.
        **who: Further `SecurityEvent` fields: ``request_id``, ``tenant_id``, ``user_id`` ...
    """
    if who.get("trace_id") is None and (trace_id := current_trace_id()) is not None:
        who["trace_id"] = trace_id
    event = SecurityEvent(
        name=name,
        outcome=outcome,
        reason=reason,
        time=utc(clock.now()),
        details=redact_details(details) if details else {},
        **who,
    )
    for sink in _routine if routine else _sinks:
        try:
            sink.emit(event)
        except Exception:  # noqa: BLE001 - a broken reader must not open a door
            _count_failure(sink)


def _sort_out() -> None:
    global _routine  # noqa: PLW0603 - as above
    _routine = tuple(sink for sink in _sinks if getattr(sink, "routine", False))


def _count_failure(sink: EventSink) -> None:
    global sink_failures  # noqa: PLW0603 - a process-wide counter
    sink_failures += 1
    _faults.exception("event_sink_failed: %s", type(sink).__name__)
