"""The page on metrics: its code runs, and its table is the table of the package."""

from __future__ import annotations

import re
from typing import Any

from asgi_guard.integrations.prometheus import MetricsEndpoint
from asgi_guard.observability.metrics import METRICS
from tests.support.architecture.source import ROOT

PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")


def test_the_examples_run() -> None:
    """They are what a newcomer pastes, one after the other."""
    names: dict[str, Any] = {"__name__": "example"}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "docs/metrics.md", "exec"), names)  # noqa: S102 - our own page

    assert isinstance(names["endpoint"], MetricsEndpoint)


def test_every_metric_has_its_line_with_its_labels() -> None:
    """Whoever writes a query looks here."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", PAGE, re.MULTILINE)
    listed = {(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}

    assert listed == {(metric.name, metric.kind, metric.labels) for metric in METRICS}
