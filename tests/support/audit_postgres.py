"""A database with notes, tenants and an audit log in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from asgi_guard.audit_log import AuditLog, AuditTables, PostgresAuditSink
from tests.support.audit_logs import KEY
from tests.support.rls_schema import VARIABLES, RLSDatabase

__all__ = ["PASSWORD", "TABLES", "install", "open_log", "writer_pool"]

PASSWORD = "audit-password"
TABLES = AuditTables(
    owner_role=VARIABLES.owner_role,
    runtime_role=VARIABLES.runtime_role,
    writer_role="bind_audit",
)


def install(database: RLSDatabase) -> None:
    """Make the log's tables, and let its writer log in."""
    database.database.execute(
        *TABLES.statements(),
        "SET scram_iterations = 1",
        f"ALTER ROLE {TABLES.writer_role} LOGIN PASSWORD '{PASSWORD}'",
    )


@asynccontextmanager
async def writer_pool(database: RLSDatabase) -> AsyncIterator[Any]:
    """Give the log's own pool."""
    dsn = database.database.dsn(TABLES.writer_role, PASSWORD)
    async with asyncpg.create_pool(dsn, min_size=1, max_size=4) as pool:
        yield pool


@asynccontextmanager
async def open_log(database: RLSDatabase, **options: Any) -> AsyncIterator[AuditLog]:
    """Give an open log in the database."""
    async with writer_pool(database) as pool:
        sink = PostgresAuditSink(pool, tables=TABLES)
        async with AuditLog(sinks=[sink], signing_key=KEY, **options) as audit:
            yield audit
