"""The start-up check: is row-level security real in this database, for this role?

Protects against the deployment whose policies exist on paper: the app connects as a superuser,
owns its tables, can become a role that does, or meets a table that nobody protected. The catalog
is read in one query as the app's own role; every check is a pure function over what it said.
"""

from __future__ import annotations

from asgi_guard.rls.catalog.audit import audit_catalog, verify_deployment
from asgi_guard.rls.catalog.finding import Finding, raise_on_findings

__all__ = ["Finding", "audit_catalog", "raise_on_findings", "verify_deployment"]
