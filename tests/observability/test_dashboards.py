"""The dashboard and the alert rules: made from the table, of metrics that exist."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from asgi_guard._internal.event_catalogue import CATALOGUE, EVENTS
from asgi_guard.observability.dashboards import FILES, alert_rules, grafana_dashboard
from asgi_guard.observability.metrics import METRICS

LABELS = {metric.name: {*metric.labels, "instance"} for metric in METRICS}
GRAFANA: dict[str, Any] = json.loads(grafana_dashboard())
RULES: list[dict[str, Any]] = yaml.safe_load(alert_rules())["groups"][0]["rules"]
QUERIES = [target["expr"] for panel in GRAFANA["panels"] for target in panel["targets"]]
ALERTS = [rule["expr"] for rule in RULES]
_WORDS = {"sum", "by", "increase", "rate", "count"}


def problems(query: str) -> list[str]:
    """Read one query: every word of it is a metric, one of its labels, a function or a value."""
    found = []
    bare = re.sub(r'"[^"]*"', '""', query)
    names = set(re.findall(r"\basgi_guard_\w+", bare))
    found += [f"no such metric: {name}" for name in names - set(LABELS)]
    known = set().union(*(LABELS.get(name, set()) for name in names)) | names | _WORDS
    words = set(re.findall(r"\b[a-z_]{2,}\b", re.sub(r"\[\w+\]", "", bare)))
    found += [f"no such label or function: {word}" for word in words - known]
    events = re.findall(r'event=~?"([^"]*)"', query)
    named = [name for each in events for name in each.split("|")]
    found += [f"no such event: {name}" for name in named if name not in EVENTS]
    if bare.count("(") != bare.count(")") or bare.count("{") != bare.count("}"):
        found.append("it does not close what it opens")
    return found if names else ["it asks for nothing of ours"]


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_the_committed_file_is_the_generated_one(path: Any) -> None:
    """A dashboard made by hand misses the event that was added last week."""
    assert path.read_text(encoding="utf-8") == FILES[path]()


@pytest.mark.parametrize("query", [*QUERIES, *ALERTS])
def test_a_query_asks_for_what_exists(query: str) -> None:
    """A panel on a metric that nobody exports is empty, and empty looks like safe."""
    assert problems(query) == []


@pytest.mark.parametrize(
    "query",
    [
        "rate(asgi_guard_requests_total[5m])",
        'rate(asgi_guard_events_total{event="NO_SUCH_EVENT"}[5m])',
        "sum by (tenant) (rate(asgi_guard_events_total[5m]))",
        "sum(rate(asgi_guard_events_total[5m])",
        "up == 0",
    ],
)
def test_a_query_for_something_else_is_found(query: str) -> None:
    """Negative control of the reading."""
    assert problems(query)


def test_every_critical_event_has_an_alert_that_fires_at_once() -> None:
    """It is critical because somebody should look now."""
    for kind in CATALOGUE:
        if kind.severity == "critical":
            (rule,) = [each for each in RULES if f'event="{kind.name}"' in each["expr"]]
            assert (rule["for"], rule["labels"]["severity"]) == ("0m", "critical")
            assert rule["annotations"]["summary"] == kind.meaning


def test_names_of_alerts_and_panels_are_unique_and_every_metric_has_a_panel() -> None:
    """Two of one name silence each other; a metric without a panel is never seen."""
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    assert len({panel["id"] for panel in GRAFANA["panels"]}) == len(GRAFANA["panels"])
    asked = " ".join(QUERIES)
    assert [metric.name for metric in METRICS if metric.name not in asked] == []
    assert [kind.name for kind in CATALOGUE if kind.name not in asked] == []
