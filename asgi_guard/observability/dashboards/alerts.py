"""Prometheus alert rules: one for each critical event, and for what keeps events from readers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final, NamedTuple

from asgi_guard._internal.event_catalogue import CATALOGUE, EventKind
from asgi_guard.observability.metrics import (
    AUDIT_DROPPED,
    AUDIT_HEALTHY,
    BUILD,
    EVENTS_TOTAL,
    SINK_FAILURES,
)

__all__ = ["Alert", "alert_rules", "alerts"]

_HEAD: Final = """\
# Written by `python -m scripts.dashboards` from the event catalogue; a test compares.
groups:
  - name: asgi-guard
    rules:
"""
_AT_ONCE: Final = "0m"
_PAGE: Final = "docs/events.md"


class Alert(NamedTuple):
    """One rule.

    Args:
        name: In capitals and small letters, as Prometheus writes alert names.
        query: Whose result is not empty when somebody should look.
        holds_for: How long it must be so.
        severity: ``"critical"``: now; ``"warning"``: today.
        summary: One sentence for whoever is woken.
    """

    name: str
    query: str
    holds_for: str
    severity: str
    summary: str


def alerts() -> Iterator[Alert]:
    """Give the rules, critical events first."""
    for kind in CATALOGUE:
        if kind.severity == "critical":
            yield _of_event(kind)
    yield Alert(
        "AsgiGuardSinkFails",
        f"increase({SINK_FAILURES.name}[10m]) > 0",
        _AT_ONCE,
        "warning",
        "A reader of the event stream raises: what it should have read is lost to it.",
    )
    yield Alert(
        "AsgiGuardAuditDrops",
        f"sum by (instance) (increase({AUDIT_DROPPED.name}[10m])) > 0",
        _AT_ONCE,
        "critical",
        "Events are not on record.",
    )
    yield Alert(
        "AsgiGuardAuditUnhealthy",
        f"{AUDIT_HEALTHY.name} == 0",
        "2m",
        "critical",
        "The audit log is closed, or a sink does not take what it is given.",
    )
    yield Alert(
        "AsgiGuardSeveralVersions",
        f"count(count by (version) ({BUILD.name})) > 1",
        "1h",
        "warning",
        "Processes of different releases have served together for an hour.",
    )


def alert_rules() -> str:
    """Return the rules as a file for ``rule_files`` of Prometheus."""
    return _HEAD + "".join(_rule(alert) for alert in alerts())


def _of_event(kind: EventKind) -> Alert:
    series = f'{EVENTS_TOTAL.name}{{event="{kind.name}"}}'
    return Alert(
        "AsgiGuard" + kind.name.title().replace("_", ""),
        f"sum(increase({series}[5m])) > 0",
        _AT_ONCE,
        kind.severity,
        kind.meaning,
    )


def _rule(alert: Alert) -> str:
    return (
        f"      - alert: {alert.name}\n"
        f"        expr: {json.dumps(alert.query)}\n"
        f"        for: {alert.holds_for}\n"
        f"        labels:\n          severity: {alert.severity}\n"
        f"        annotations:\n"
        f"          summary: {json.dumps(alert.summary)}\n"
        f"          description: {json.dumps(f'See {_PAGE}.')}\n"
    )
