"""What operators see: the stream of security events and its readers.

Protects against the breach that nobody notices: each refusal, each contamination and each
crossing of tenants leaves one `SecurityEvent`, whichever part of the package met it.
"""

from __future__ import annotations

from asgi_guard._internal.events import LogSink, subscribe
from asgi_guard.observability.catalogue import CATALOGUE, EVENTS, EventKind
from asgi_guard.observability.log_processors import configure_logging, log_processors
from asgi_guard.observability.metrics import METRICS, GuardMetrics
from asgi_guard.protocols import EventSink, SecurityEvent

__all__ = [
    "CATALOGUE",
    "EVENTS",
    "METRICS",
    "EventKind",
    "EventSink",
    "GuardMetrics",
    "LogSink",
    "SecurityEvent",
    "configure_logging",
    "log_processors",
    "subscribe",
]
