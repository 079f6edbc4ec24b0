"""The world that the row-level-security contenders share: one server, equal rows, equal indexes.

``plain_notes`` has no policies and is filtered by hand; ``notes`` is guarded by the DDL that the
package writes, ``sealed_notes`` by its sealed form; ``keyed_notes`` and ``role_notes`` carry the
policies that the peers document.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import URL, Column, MetaData, String, Table, Text, Uuid, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from asgi_guard.rls import (
    RLSVariables,
    SealKey,
    SealKeys,
    seal_key_statements,
    tenant_policies,
)
from asgi_guard.testing import EmbeddedPostgres

TENANTS, NOTES_EACH, PASSWORD = 20, 1_000, "benchmark"

metadata = MetaData()
guarded = Table(
    "notes",
    metadata,
    Column("tenant_id", Uuid, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("body", Text, nullable=False),
)
_sealed = MetaData()
sealed = guarded.to_metadata(_sealed, name="sealed_notes")
# Names of its own, so that both kinds live in one database.
SEALED = RLSVariables(
    sealed=True, schema="sealed_guard", setting="sealed.tenant", user_setting="sealed.user"
)
SEAL_KEYS = SealKeys([SealKey.generate()])
_others = MetaData()
plain, keyed = (
    Table(
        name,
        _others,
        Column("tenant_id", Uuid, primary_key=True),
        Column("id", Uuid, primary_key=True),
        Column("body", Text, nullable=False),
    )
    for name in ("plain_notes", "keyed_notes")
)
by_role = Table(
    "role_notes",
    _others,
    Column("tenant", String, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("body", Text, nullable=False),
)

_FILL = """
    INSERT INTO {table} SELECT md5('t' || t)::uuid{cast}, md5('n' || t || '/' || n)::uuid,
           repeat('x', 80)
    FROM generate_series(1, {tenants}) AS t, generate_series(1, {notes}) AS n
"""
_PEERS = (
    # fastapi-rls: a policy over current_setting('rls.tenant_id'), as its README writes it.
    "ALTER TABLE keyed_notes ENABLE ROW LEVEL SECURITY",
    """CREATE POLICY tenant ON keyed_notes
       USING (tenant_id = NULLIF(current_setting('rls.tenant_id', true), '')::uuid)""",
    # sqlalchemy-tenants and litestar-tenants: one role per tenant, named by current_user.
    """CREATE FUNCTION get_tenant() RETURNS text LANGUAGE sql STABLE
       AS $$ SELECT replace(current_user, 'tenant_', '') $$""",
    "ALTER TABLE role_notes ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY tenant ON role_notes USING (tenant = (SELECT get_tenant()::varchar))",
    "GRANT SELECT ON plain_notes, keyed_notes, role_notes TO app_runtime",
)
_ROLES = """
    DO $$ DECLARE tenant text; BEGIN
      FOR tenant IN SELECT DISTINCT r.tenant FROM role_notes AS r LOOP
        EXECUTE format('CREATE ROLE %I', 'tenant_' || tenant);
        EXECUTE format('GRANT SELECT ON role_notes TO %I', 'tenant_' || tenant);
        EXECUTE format('GRANT %I TO app_runtime WITH INHERIT FALSE', 'tenant_' || tenant);
      END LOOP; END $$
"""


@dataclass(frozen=True, slots=True)
class World:
    """Where the contenders connect, and what exists there."""

    dsn: str
    admin_url: URL
    targets: list[tuple[str, UUID]]

    @property
    def url(self) -> str:
        """Return the SQLAlchemy form of `dsn`."""
        return self.dsn.replace("postgresql://", "postgresql+asyncpg://", 1)


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """Start a server, fill it, and stop it."""
    with EmbeddedPostgres(durable=False) as server:
        database = server.create_database("bench")
        admin_url = make_url(database.dsn()).set(drivername="postgresql+asyncpg")
        admin = create_async_engine(admin_url)
        async with admin.begin() as connection:
            await connection.run_sync(metadata.create_all)
            await connection.run_sync(_others.create_all)
            await connection.run_sync(_sealed.create_all)
            for table in ("plain_notes", "keyed_notes", "role_notes", "notes", "sealed_notes"):
                cast = "::text" if table == "role_notes" else ""
                fill = _FILL.format(table=table, cast=cast, tenants=TENANTS, notes=NOTES_EACH)
                await connection.exec_driver_sql(fill)
            await connection.run_sync(tenant_policies(metadata).apply)
            await connection.run_sync(tenant_policies(_sealed, variables=SEALED).apply)
            for statement in seal_key_statements(SEAL_KEYS, SEALED):
                await connection.exec_driver_sql(statement)
            runtime = RLSVariables().runtime_role
            await connection.exec_driver_sql(f"ALTER ROLE {runtime} PASSWORD '{PASSWORD}'")
            for statement in (*_PEERS, _ROLES):
                await connection.exec_driver_sql(statement)
            rows = await connection.execute(plain.select().order_by(plain.c.id))
            targets = [(str(row.tenant_id), row.id) for row in rows]
        async with admin.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.exec_driver_sql("VACUUM ANALYZE")
        await admin.dispose()
        random.Random(0).shuffle(targets)  # noqa: S311 - an order, not a secret
        yield World(database.dsn(user=runtime, password=PASSWORD), admin_url, targets)
