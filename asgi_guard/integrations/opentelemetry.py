"""OpenTelemetry: the current span's trace id in contexts, events and log lines.

::

    use_opentelemetry()  # once, when the process starts

Put the tracing middleware (``OpenTelemetryMiddleware`` of opentelemetry-instrumentation-asgi)
around the guarded app, so that its span is current when the guard looks. Where a span is current
its trace id wins over a ``traceparent`` header that the caller sent.

Needs the ``otel`` extra.
"""

from __future__ import annotations

from collections.abc import Callable

from asgi_guard._internal.extras import require_extra
from asgi_guard._internal.tracing import set_trace_source

require_extra("opentelemetry.trace", feature=__name__, extra="otel")

from opentelemetry import trace  # noqa: E402 - a missing extra is named first

__all__ = ["span_trace_id", "use_opentelemetry"]


def use_opentelemetry() -> Callable[[], None]:
    """Name the current span's trace wherever a trace is named.

    Returns:
        A function that restores what was before.
    """
    before = set_trace_source(span_trace_id)

    def undo() -> None:
        set_trace_source(before)

    return undo


def span_trace_id() -> str | None:
    """Return the trace id of the current span as 32 hexadecimal digits; None outside any."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None
