"""Structured log lines: the same fields on every one, and no secret on any.

`configure_logging` sets up structlog and the standard library's logging together, so that lines
of the app, of this package and of third parties look alike. To keep your own set-up, put
`log_processors()` in front of your renderer.
"""

from __future__ import annotations

import logging
import sys
from hashlib import sha256
from typing import Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from asgi_guard._internal.redaction import REDACTED, is_secret_key, redact_value
from asgi_guard._internal.tracing import current_trace_id
from asgi_guard.tenancy.current import entered_context

__all__ = ["FIELDS", "add_context", "configure_logging", "log_processors", "redact"]

FIELDS: Final = (
    "request_id",
    "tenant_id",
    "user_id",
    "session_id",
    "auth_method",
    "operation",
    "trace_id",
    "outcome",
)
"""On every line, None where unknown: a query on a field must not miss lines without it."""

# What identifies is kept as it is: these are ids of ours, and a log without them is useless.
_KEPT: Final = frozenset({*FIELDS, "timestamp", "level", "logger", "event_time"})


def add_context(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Fill `FIELDS` from the current context; what the line says itself wins.

    The session is hashed: whoever reads the log must not be able to take it over.
    """
    context = entered_context()
    for name in FIELDS:
        if event_dict.get(name) is not None:
            continue
        value = getattr(context, name, None)
        if name == "session_id" and value is not None:
            value = sha256(value.encode()).hexdigest()
        event_dict[name] = value or None
    if event_dict["trace_id"] is None:
        event_dict["trace_id"] = current_trace_id()
    return event_dict


def redact(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """Replace secrets and personal data, by key and by pattern (`asgi_guard` keeps the list).

    Ids (`FIELDS`) are kept. Everything else is looked at: the message, values however deep,
    tracebacks.
    """
    for key, value in event_dict.items():
        if key in _KEPT or key.startswith("_"):
            continue
        event_dict[key] = REDACTED if is_secret_key(key) and value else redact_value(value)
    return event_dict


def log_processors() -> list[Processor]:
    """Return the processors to put before a renderer, in their order.

    Tracebacks are rendered without local variables, which hold tokens and rows, and before
    redaction, which then reads them too.
    """
    return [
        structlog.contextvars.merge_contextvars,
        add_context,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
        redact,
    ]


def configure_logging(
    *, json: bool = True, level: int | str = "INFO", stream: TextIO | None = None
) -> None:
    """Send every line of structlog and of ``logging`` through `log_processors`, once each.

    Replaces the handlers of the root logger. Call it once, when the process starts.

    Args:
        json: One JSON object a line; False for people, in columns.
        level: Lowest level that is written.
        stream: Where to; standard error by default.
    """
    shared = log_processors()
    renderer: Processor = (
        structlog.processors.JSONRenderer(sort_keys=True)
        if json
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_foreign(shared),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def _foreign(shared: list[Processor]) -> list[Processor]:
    """Lines of ``logging``: fields given as ``extra=`` are seen, and so redacted, as well."""
    return [structlog.stdlib.ExtraAdder(), *shared]
