"""Prometheus: events counted as they come, the other numbers read when it asks, and ``/metrics``.

::

    metrics = PrometheusMetrics(GuardMetrics(audit=audit, pools={"app": engine}))
    settings = GuardSettings(event_sinks=[metrics], ...)
    app.mount("/metrics", MetricsEndpoint(metrics.registry))

Needs the ``prometheus`` extra.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from asgi_guard._internal.extras import require_extra
from asgi_guard._internal.responses import send_problem
from asgi_guard.errors import ConfigError, InsufficientScopeError, TenantMissingError
from asgi_guard.observability.metrics import (
    EVENT_LABELS,
    EVENTS_TOTAL,
    GuardMetrics,
    Sample,
    event_series,
    labels_of,
)
from asgi_guard.protocols import Receive, Scope, SecurityEvent, Send
from asgi_guard.tenancy.current import current_context

require_extra("prometheus_client", feature=__name__, extra="prometheus")

from prometheus_client import CollectorRegistry, Counter  # noqa: E402 - a missing extra is named first
from prometheus_client.core import (  # noqa: E402 - as above
    CounterMetricFamily,
    GaugeMetricFamily,
)
from prometheus_client.exposition import choose_encoder  # noqa: E402 - as above

__all__ = ["MetricsEndpoint", "PrometheusMetrics"]

_METHODS: Final = frozenset({"GET", "HEAD"})


class PrometheusMetrics:
    """An `EventSink` that counts every event, and a collector of the other numbers.

    All series of the catalogue exist from the start, at 0.

    Args:
        metrics: What else there is to read.
        registry: Where the metrics are registered; a new one by default, so that those of other
            libraries are not shown where nobody thought of them.
        routine: Whether successes of the hot path are counted as well
            (``AUTHENTICATION_SUCCEEDED``): one event per request.

    Raises:
        ConfigError: The registry has metrics of these names already.
    """

    def __init__(
        self,
        metrics: GuardMetrics | None = None,
        *,
        registry: CollectorRegistry | None = None,
        routine: bool = False,
    ) -> None:
        self.routine = routine
        self.registry = CollectorRegistry() if registry is None else registry
        self._metrics = metrics or GuardMetrics()
        try:
            events = Counter(
                EVENTS_TOTAL.name, EVENTS_TOTAL.meaning, EVENT_LABELS, registry=self.registry
            )
            self.registry.register(self)
        except ValueError as error:
            raise ConfigError(
                "PrometheusMetrics.registry",
                "has these metrics already",
                "Make one PrometheusMetrics for each registry.",
            ) from error
        # Kept: looking a child up costs several times what counting does.
        self._children = {series: events.labels(*series) for series in event_series()}
        self._events = events

    def emit(self, event: SecurityEvent) -> None:
        """Count *event*."""
        series = labels_of(event)
        child = self._children.get(series)
        if (
            child is None
        ):  # an outcome that the catalogue does not foresee; a closed set all the same
            child = self._children[series] = self._events.labels(*series)
        child.inc()

    def collect(self) -> Iterable[Any]:
        """Give the numbers that are read when somebody asks; a collector of Prometheus."""
        families: dict[str, Any] = {}
        for sample in self._metrics.samples():
            family = families.get(sample.metric.name)
            if family is None:
                family = families[sample.metric.name] = _family(sample)
            family.add_metric(sample.labels, sample.value)
        return families.values()

    def describe(self) -> Iterable[Any]:
        """Give nothing: registering must read no pool that is not open yet."""
        return ()


class MetricsEndpoint:
    """An ASGI app that answers ``GET`` with the metrics, in the format that was asked for.

    Counts of refusals tell an attacker what works. So the answer is for callers whose context has
    *scope*: mount it inside a guarded app. Where the network decides who may ask (a port of its
    own), say so with ``insecure_public=True``.

    Args:
        registry: What is shown; `PrometheusMetrics.registry`, or with several processes one
            with a ``MultiProcessCollector``.
        scope: OAuth scope that a reader needs.
        insecure_public: Ask for no scope.

    Raises:
        ConfigError: The scope is empty, so that anybody would have it.

    Refuses with 403 (no context, or one without the scope) and 405.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        scope: str = "metrics:read",
        insecure_public: bool = False,
    ) -> None:
        if not scope:
            raise ConfigError("MetricsEndpoint.scope", "is empty", "Name the operators' scope.")
        self._registry = registry
        self._scope = None if insecure_public else scope

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; other scopes are not served."""
        if scope["type"] != "http":
            return
        refusal = self._refusal()
        if refusal is not None:
            await send_problem(scope, receive, send, refusal)
            return
        if scope["method"] not in _METHODS:
            await _answer(send, 405, b"", b"text/plain", (b"allow", b"GET, HEAD"))
            return
        accept = b",".join(value for name, value in scope["headers"] if name == b"accept")
        encode: Callable[[CollectorRegistry], bytes]
        encode, content_type = choose_encoder(accept.decode("latin-1"))
        body = encode(self._registry)
        await _answer(send, 200, body, content_type.encode(), head=scope["method"] == "HEAD")

    def _refusal(self) -> TenantMissingError | InsufficientScopeError | None:
        if self._scope is None:
            return None
        context = current_context()
        if context is None:
            return TenantMissingError("metrics_without_context")
        return None if self._scope in context.scopes else InsufficientScopeError("scope_missing")


def _family(sample: Sample) -> Any:
    metric = sample.metric
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    return kind(metric.name, metric.meaning, labels=metric.labels)


async def _answer(
    send: Send,
    status: int,
    body: bytes,
    content_type: bytes,
    *more: tuple[bytes, bytes],
    head: bool = False,
) -> None:
    headers = [
        (b"content-type", content_type),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body})
