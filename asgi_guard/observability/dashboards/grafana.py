"""A Grafana dashboard: one panel for each part of the package, one for what must stay at zero."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from asgi_guard._internal.event_catalogue import CATALOGUE, EventKind
from asgi_guard.observability.metrics import EVENTS_TOTAL, METRICS, Metric

__all__ = ["grafana_dashboard"]

_WIDTH: Final = 12
_HEIGHT: Final = 8
_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}


def grafana_dashboard() -> str:
    """Return the dashboard as JSON, to be imported; it asks for the Prometheus data source."""
    panels = [
        {**panel, "id": number + 1, "gridPos": _place(number)}
        for number, panel in enumerate(_panels())
    ]
    body = {
        "title": "asgi-guard",
        "uid": "asgi-guard",
        "tags": ["security"],
        "schemaVersion": 39,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "1m",
        "templating": {"list": [{"name": "source", "type": "datasource", "query": "prometheus"}]},
        "panels": panels,
    }
    return json.dumps(body, indent=1, sort_keys=True) + "\n"


def _panels() -> Iterator[dict[str, Any]]:
    critical = [kind for kind in CATALOGUE if kind.severity == "critical"]
    yield _panel(
        "Must stay at zero",
        "Events after which somebody should look now.",
        _by("event", critical, "increase", "1h"),
        "{{event}}",
    )
    for room in dict.fromkeys(kind.room for kind in CATALOGUE):
        kinds = [kind for kind in CATALOGUE if kind.room == room]
        told = " ".join(f"{kind.name}: {kind.meaning}" for kind in kinds)
        yield _panel(
            room, told, _by("event, outcome", kinds, "rate", "5m"), "{{event}} {{outcome}}"
        )
    for metric in METRICS:
        if metric is not EVENTS_TOTAL:
            legend = " ".join(f"{{{{{label}}}}}" for label in metric.labels) or "{{instance}}"
            yield _panel(metric.name, metric.meaning, _query(metric), legend)


def _by(labels: str, kinds: list[EventKind], function: str, window: str) -> str:
    names = "|".join(kind.name for kind in kinds)
    series = f'{EVENTS_TOTAL.name}{{event=~"{names}"}}'
    return f"sum by ({labels}) ({function}({series}[{window}]))"


def _query(metric: Metric) -> str:
    by = ", ".join(metric.labels or ("instance",))
    inner = f"rate({metric.name}[5m])" if metric.kind == "counter" else metric.name
    return f"sum by ({by}) ({inner})" if metric.labels else inner


def _panel(title: str, description: str, query: str, legend: str) -> dict[str, Any]:
    return {
        "type": "timeseries",
        "title": title,
        "description": description,
        "datasource": _SOURCE,
        "targets": [{"refId": "A", "expr": query, "legendFormat": legend, "datasource": _SOURCE}],
        "fieldConfig": {"defaults": {"min": 0}, "overrides": []},
    }


def _place(number: int) -> dict[str, int]:
    return {
        "x": number % 2 * _WIDTH,
        "y": number // 2 * _HEIGHT,
        "w": _WIDTH,
        "h": _HEIGHT,
    }
