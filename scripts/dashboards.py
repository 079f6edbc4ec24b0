"""Write the dashboard and the alert rules from the catalogue: ``python -m scripts.dashboards``."""  # noqa: INP001 - a program

from __future__ import annotations

from asgi_guard.observability.dashboards import FILES

if __name__ == "__main__":
    for path, make in FILES.items():
        path.write_text(make(), encoding="utf-8")
