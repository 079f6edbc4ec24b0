"""A Grafana dashboard and Prometheus alert rules, made from the catalogue and `METRICS`.

``grafana.json`` and ``alerts.yml`` lie beside this file, ready to be imported; a test compares them
with what is generated here. Write them anew with ``python -m scripts.dashboards``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from asgi_guard.observability.dashboards.alerts import alert_rules
from asgi_guard.observability.dashboards.grafana import grafana_dashboard

__all__ = ["FILES", "alert_rules", "grafana_dashboard"]

_HERE: Final = Path(__file__).parent
FILES: Final = {_HERE / "grafana.json": grafana_dashboard, _HERE / "alerts.yml": alert_rules}
"""Where each lies, and what makes it."""
