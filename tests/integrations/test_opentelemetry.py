"""Traces: the id of the current span stands in the context, in events and on log lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from asgi_guard._internal.events import emit
from asgi_guard.integrations.opentelemetry import span_trace_id, use_opentelemetry
from asgi_guard.observability.log_processors import add_context
from asgi_guard.protocols import Receive, Scope, Send
from asgi_guard.stack import Guard
from asgi_guard.tenancy import require_context
from tests.support.exchange import ask, http_scope
from tests.support.hosts_guard import ACME, GLOBEX, guard_settings, token
from tests.support.rls_fixtures import EventList, rls_events

__all__ = ["rls_events"]

SENT = "11111111111111111111111111111111"
HEADER = {"traceparent": f"00-{SENT}-2222222222222222-01"}


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    undo = use_opentelemetry()
    yield InMemorySpanExporter()
    undo()


def tracer(spans: InMemorySpanExporter) -> trace.Tracer:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return provider.get_tracer("test")


async def seen_by_app(headers: dict[str, str]) -> str | None:
    seen: list[str | None] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(require_context().trace_id)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guarded = Guard(guard_settings()).install(app)
    await ask(guarded, http_scope("GET", "/", token("alice", ACME) | headers))
    return seen[0]


async def test_the_current_span_names_the_trace(
    spans: InMemorySpanExporter, rls_events: EventList
) -> None:
    """An operator goes from a refusal to its trace, and back."""
    with tracer(spans).start_as_current_span("request"):
        in_context = await seen_by_app(HEADER)
        emit("CORS_DENIED", outcome="denied")
        guarded = Guard(guard_settings()).install(_nothing)
        await ask(guarded, http_scope("GET", "/", token("alice", GLOBEX)))
        line = add_context(None, "info", {})
    (span,) = spans.get_finished_spans()
    assert span.context is not None
    exported = trace.format_trace_id(span.context.trace_id)

    assert in_context == exported != SENT
    assert {event.trace_id for event in rls_events} == {exported}
    assert line["trace_id"] == exported


async def test_without_a_span_the_header_is_taken_as_before(spans: InMemorySpanExporter) -> None:
    """Negative control; and an app that does not trace loses nothing."""
    assert span_trace_id() is None
    assert await seen_by_app(HEADER) == SENT


async def test_nothing_is_asked_once_it_is_undone(spans: InMemorySpanExporter) -> None:
    """It is switched on by whoever names it, and off by the same."""
    use_opentelemetry()()  # one inside the fixture's: what was before is there again
    with tracer(spans).start_as_current_span("request"):
        assert await seen_by_app({}) is not None


async def test_it_is_not_switched_on_by_being_installed(rls_events: EventList) -> None:
    """A library that acts because of another one's presence acts behind its user's back."""
    with tracer(InMemorySpanExporter()).start_as_current_span("request"):
        emit("CORS_DENIED", outcome="denied")

    assert rls_events[0].trace_id is None


async def _nothing(_scope: Any, _receive: Any, _send: Any) -> None:
    """Stand in for an app that is never reached."""
