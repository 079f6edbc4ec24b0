"""The demo with its second wall torn down and its first one open: its tour must report a leak."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sqlalchemy import Connection

from asgi_guard.settings import GuardSettings
from examples.saas import app, database, serve, service


def without_policies(connection: Connection, passwords: dict[str, Any]) -> None:
    """Make the database as the demo does, then switch row-level security off."""
    _make(connection, passwords)
    for table in ("notes", "reports"):
        connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")


def unguarded(settings_of: Any) -> Any:
    """Let the app start all the same."""

    def settings(parts: service.Service) -> GuardSettings:
        whole = settings_of(parts)
        changed = {name: getattr(whole, name) for name in GuardSettings.__slots__}
        return GuardSettings(**changed | {"startup_checks": "monitor"})

    return settings


_make = database._make
database._make = without_policies
app.guard_settings = unguarded(app.guard_settings)
sys.exit(0 if serve.run(once=True) else 1)
