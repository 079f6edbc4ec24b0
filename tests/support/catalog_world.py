"""A sound deployment on one connection, to be broken in a transaction that is rolled back.

A flaw costs some milliseconds instead of a database: the administrator breaks, the audit runs on
the same connection as the runtime role (SET LOCAL SESSION AUTHORIZATION), and nothing stays.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from asgi_guard.rls import RLSVariables
from asgi_guard.rls.catalog import Finding, audit_catalog
from asgi_guard.rls.policies import TenantPolicies, tenant_policies
from asgi_guard.testing import PostgresDatabase
from tests.support.ddl_deployment import TENANTS, TYPES

__all__ = ["World", "audited", "metadata_of", "prepare"]

_PARTS = """
CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE VIEW note_titles WITH (security_invoker) AS SELECT id, title FROM notes;
"""


def metadata_of(variables: RLSVariables) -> MetaData:
    """Tables of each kind: keys across them, partitions, reference data, the system's own."""
    metadata = MetaData()
    tenant, kind = variables.column, TYPES[variables.tenant_id.sql_type]
    Table("countries", metadata, Column("code", Text, primary_key=True), Column("open", Boolean))
    Table(
        "memberships",
        metadata,
        Column("user_id", Text, primary_key=True),
        Column(tenant, kind, primary_key=True),
    )
    Table(
        "notes",
        metadata,
        Column(tenant, kind, primary_key=True),
        Column("id", BigInteger, Identity(), primary_key=True),
        Column("title", Text, nullable=False),
        Column("public", Boolean, server_default="false"),
        Column("owner", kind),
        UniqueConstraint(tenant, "title", name="notes_title_key"),
    )
    Table(
        "comments",
        metadata,
        Column(tenant, kind, primary_key=True),
        Column("id", BigInteger, Identity(), primary_key=True),
        Column("note_id", BigInteger),
        Column("country", Text),
        ForeignKeyConstraint(
            [tenant, "note_id"],
            [f"notes.{tenant}", "notes.id"],
            name="comments_note_fk",
            ondelete="CASCADE",
        ),
        ForeignKeyConstraint(["country"], ["countries.code"], name="comments_country_fk"),
    )
    Table(
        "events",
        metadata,
        Column(tenant, kind, primary_key=True),
        Column("id", BigInteger, Identity(), primary_key=True),
        Column("at", DateTime(timezone=True), primary_key=True),
        postgresql_partition_by="RANGE (at)",
    )
    return metadata


def policies_of(variables: RLSVariables) -> TenantPolicies:
    """Declare the kinds of the tables above."""
    return tenant_policies(
        metadata_of(variables),
        variables=variables,
        shared=["countries"],
        system_only=["memberships"],
        views=["note_titles"],
    )


def prepare(database: PostgresDatabase, variables: RLSVariables) -> TenantPolicies:
    """Make the tables, apply the generated DDL, store a row of each kind for each tenant."""
    metadata, policies = metadata_of(variables), policies_of(variables)
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call] # SQLAlchemy's own
    column = f'"{variables.column}"'
    rows = [
        f"INSERT INTO notes ({column}, title) VALUES ('{tenant}', 'of {tenant}'); "
        f"INSERT INTO events ({column}, at) VALUES ('{tenant}', '2024-05-05')"
        for tenant in TENANTS[variables.tenant_id.sql_type]
    ]
    database.execute(
        *(str(CreateTable(table).compile(dialect=dialect)) for table in metadata.sorted_tables),
        _PARTS,
        "INSERT INTO countries VALUES ('de', true)",
        str(policies),
        *rows,
    )
    return policies


@dataclass(frozen=True)
class World:
    """One connection as the administrator, in a transaction."""

    connection: Any
    variables: RLSVariables
    policies: TenantPolicies
    database: PostgresDatabase

    @property
    def words(self) -> dict[str, str]:
        """What the flaws' SQL may name."""
        v = self.variables
        one, other = TENANTS[v.tenant_id.sql_type]
        return {
            "runtime": v.runtime_role,
            "owner": v.owner_role,
            "system": v.system_role,
            "setting": v.setting,
            "schema": f'"{v.schema}"',
            "c": f'"{v.column}"',
            "type": v.tenant_id.sql_type,
            "database": self.database.name,
            "tenant": one,
            "other": other,
            "helper": f'"{v.schema}".current_tenant()',
            "rule": f'"{v.column}" = (SELECT "{v.schema}".current_tenant())',
            "x": f"x{v.owner_role}",
        }

    async def run(self, text: str) -> None:
        """Run SQL as the administrator."""
        await self.connection.execute(text)

    async def findings(self, **options: Any) -> list[Finding]:
        """Audit as the runtime role."""
        options = {"tables": self.policies, "behaviour": True, **options}
        async with self.as_role(self.variables.runtime_role):
            return await audit_catalog(self.connection, **options)

    @asynccontextmanager
    async def as_role(self, role: str) -> AsyncIterator[Any]:
        """Be *role*, as if logged in."""
        await self.run(f'SET LOCAL SESSION AUTHORIZATION "{role}"')
        try:
            yield self.connection
        finally:
            await self.run("RESET SESSION AUTHORIZATION")

    async def app_works(self) -> None:
        """Do as the app does; raises when a mend took too much or left too much."""
        one, other = TENANTS[self.variables.tenant_id.sql_type]
        async with self.connection.transaction(), self.as_role(self.variables.runtime_role):
            ask = self.connection.fetchval
            for tenant, seen in (("", 0), (one, 1), (other, 1)):
                await self.connection.execute(
                    "SELECT set_config($1, $2, true)", self.variables.setting, tenant
                )
                assert await ask("SELECT count(*) FROM notes") == seen
                assert await ask("SELECT count(*) FROM events") == seen
                assert await ask("SELECT count(*) FROM note_titles") == seen
            assert await ask("SELECT title FROM notes") == f"of {other}"
            note = await ask("INSERT INTO notes (title) VALUES ('new') RETURNING id")
            await self.run(f"INSERT INTO comments (note_id, country) VALUES ({note}, 'de')")
            await self.run("INSERT INTO events (at) VALUES ('2025-06-06')")
            await self.run(f"UPDATE notes SET title = 'newer' WHERE id = {note}")
            await self.run(f"DELETE FROM notes WHERE id = {note}")
            assert await ask("SELECT count(*) FROM comments") == 0, "the cascade"
            assert await ask("SELECT count(*) FROM countries") == 1


@asynccontextmanager
async def audited(
    database: PostgresDatabase, variables: RLSVariables, policies: TenantPolicies
) -> AsyncIterator[World]:
    """Give a world whose every change is rolled back at the end."""
    connection = await asyncpg.connect(database.dsn())
    transaction = connection.transaction()
    try:
        await transaction.start()
        yield World(connection, variables, policies, database)
        await transaction.rollback()
    finally:
        await connection.close()
