"""The PostgreSQL sink: a table that is append-only by grants, under row-level security itself."""

from __future__ import annotations

from asgi_guard.audit_log.postgres.sink import PostgresAuditSink
from asgi_guard.audit_log.postgres.tables import AuditTables

__all__ = ["AuditTables", "PostgresAuditSink"]
