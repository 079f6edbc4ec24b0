"""Real servers for tests and the demo: row-level security is proven on PostgreSQL or not at all.

`EmbeddedPostgres` is a server of this process's own, from the ``embedded`` extra, that leaves
nothing behind. ``pytest_plugins = ["asgi_guard.testing.plugin"]`` gives each test a database of
its own on one.

`detect_shared`, `TenantDetector` and `tenant_bound` find objects that two tenants' code touches.
"""

from __future__ import annotations

from asgi_guard.testing.detector import TenantDetector, detect_shared, tenant_bound
from asgi_guard.testing.embedded import EmbeddedPostgres
from asgi_guard.testing.server import PostgresDatabase, PostgresServer
from asgi_guard.testing.touches import Contamination, ContaminationError

__all__ = [
    "Contamination",
    "ContaminationError",
    "EmbeddedPostgres",
    "PostgresDatabase",
    "PostgresServer",
    "TenantDetector",
    "detect_shared",
    "tenant_bound",
]
