"""A deployment made with the generated DDL: roles of its own, tables, two tenants with rows."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Identity,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
    make_url,
)
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from asgi_guard.rls import RLSVariables
from asgi_guard.rls.ddl.passwords import password_statement
from asgi_guard.rls.policies import TenantPolicies, tenant_policies
from asgi_guard.secret import Secret
from asgi_guard.tenancy.tenant_id import INTEGER, SLUG, UUID, TenantIdShape
from asgi_guard.testing import PostgresDatabase

PASSWORD = "correct horse"
TENANTS = {
    "uuid": ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"),
    "text": ("acme", "globex"),
    "bigint": ("1", "2"),
}
TYPES = {"uuid": Uuid, "text": Text, "bigint": BigInteger}


def fresh_variables(shape: TenantIdShape = UUID, **names: str) -> RLSVariables:
    """Names of roles that no other test uses: roles belong to the whole server."""
    tag = secrets.token_hex(4)
    roles = {
        "owner_role": f"owner_{tag}",
        "runtime_role": f"runtime_{tag}",
        "system_role": f"system_{tag}",
    }
    return RLSVariables(tenant_id=shape, **{**roles, **names})


def renamed_variables(shape: TenantIdShape) -> RLSVariables:
    """Another name for everything, reserved words included."""
    return fresh_variables(
        shape,
        setting="shop.customer",
        user_setting="shop.person",
        schema="order",
        column="user",
    )


VARIANTS = {
    "uuid": lambda: fresh_variables(UUID),
    "slug": lambda: fresh_variables(SLUG),
    "integer": lambda: fresh_variables(INTEGER),
    "uuid, renamed": lambda: renamed_variables(UUID),
    "slug, renamed": lambda: renamed_variables(SLUG),
    "integer, renamed": lambda: renamed_variables(INTEGER),
}


def shop(variables: RLSVariables, schema: str | None = None) -> MetaData:
    """Tables of each kind: guarded, referring to each other, shared, and the system's."""
    metadata = MetaData(schema=schema)
    tenant, kind = variables.column, TYPES[variables.tenant_id.sql_type]
    place = f"{schema}." if schema else ""
    Table(
        "notes",
        metadata,
        Column(tenant, kind, primary_key=True),
        Column("id", Integer, Identity(), primary_key=True),
        Column("title", Text, nullable=False),
    )
    Table(
        "Odd Comments",  # a name that must be quoted
        metadata,
        Column(tenant, kind, primary_key=True),
        Column("id", Integer, Identity(), primary_key=True),
        Column("note_id", Integer),
        ForeignKeyConstraint(
            [tenant, "note_id"], [f"{place}notes.{tenant}", f"{place}notes.id"], ondelete="CASCADE"
        ),
    )
    Table("countries", metadata, Column("code", Text, primary_key=True))
    Table(
        "memberships",
        metadata,
        Column("user_id", Text, primary_key=True),
        Column(tenant, kind, primary_key=True),
    )
    return metadata


@dataclass(frozen=True)
class Deployment:
    """A database under the generated DDL."""

    database: PostgresDatabase
    variables: RLSVariables
    metadata: MetaData
    policies: TenantPolicies

    @property
    def tenants(self) -> tuple[str, str]:
        return TENANTS[self.variables.tenant_id.sql_type]

    @property
    def notes(self) -> str:
        return self.policies.inventory.guarded[0].sql

    @property
    def column(self) -> str:
        return f'"{self.variables.column}"'

    async def admin(self, *statements: str) -> None:
        """Run SQL as the superuser; each text may hold several statements."""
        connection = await asyncpg.connect(self.database.dsn())
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    @asynccontextmanager
    async def connected(
        self, role: str | None = None, tenant: str | None = None
    ) -> AsyncIterator[Any]:
        """Connect as *role* (the runtime role by default), in a transaction bound to *tenant*."""
        user = role or self.variables.runtime_role
        connection = await asyncpg.connect(self.database.dsn(user, PASSWORD))
        try:
            async with connection.transaction():
                if tenant is not None:
                    await connection.execute(
                        "SELECT set_config($1, $2, true)", self.variables.setting, tenant
                    )
                yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def engine(
        self, role: str | None = None, password: str = PASSWORD
    ) -> AsyncIterator[AsyncEngine]:
        """Make an SQLAlchemy engine for *role*, without a pool to leave behind."""
        user = role or self.variables.runtime_role
        url = make_url(self.database.dsn(user, password)).set(drivername="postgresql+asyncpg")
        engine = create_async_engine(url, poolclass=NullPool)
        try:
            yield engine
        finally:
            await engine.dispose()

    async def titles(self, tenant: str | None) -> set[str]:
        """Read what the app sees."""
        async with self.connected(tenant=tenant) as connection:
            rows = await connection.fetch(f"SELECT title FROM {self.notes}")
        return {row["title"] for row in rows}

    async def app_still_works(self) -> None:
        """Read, write, change and delete as the app; raises when a mend took too much."""
        one = self.tenants[0]
        async with self.connected(tenant=one) as connection:
            note = await connection.fetchval(
                f"INSERT INTO {self.notes} (title) VALUES ('new') RETURNING id"
            )
            assert await connection.fetchval(f"SELECT count(*) FROM {self.notes}") == 2
            await connection.execute(f'INSERT INTO "Odd Comments" (note_id) VALUES ({note})')
            await connection.execute(f"UPDATE {self.notes} SET title = 'newer' WHERE id = {note}")
            assert await connection.execute(f"DELETE FROM {self.notes} WHERE id = {note}") == (
                "DELETE 1"
            )
            await connection.fetch("SELECT code FROM countries")


@asynccontextmanager
async def deployed(
    database: PostgresDatabase, variables: RLSVariables | None = None
) -> AsyncIterator[Deployment]:
    """Make tables, apply the policies, store a row per tenant; drop the roles afterwards."""
    variables = variables or fresh_variables()
    metadata = shop(variables)
    policies = tenant_policies(
        metadata, variables=variables, shared=["countries"], system_only=["memberships"]
    )
    made = Deployment(database, variables, metadata, policies)
    url = make_url(database.dsn()).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
            await connection.run_sync(policies.apply)
        await made.admin(
            password_statement(variables.runtime_role, Secret(PASSWORD)),
            password_statement(variables.system_role, Secret(PASSWORD)),
            *(
                f"INSERT INTO {made.notes} ({made.column}, title) "
                f"VALUES ('{tenant}', 'of {tenant}')"
                for tenant in made.tenants
            ),
        )
        yield made
    finally:
        await engine.dispose()
        await drop_roles(made, variables.owner_role, variables.runtime_role, variables.system_role)


async def drop_roles(made: Deployment, *roles: str) -> None:
    """Drop roles and all they own in this database."""
    for role in roles:
        await made.admin(
            f"DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN "
            f"EXECUTE 'DROP OWNED BY \"{role}\" CASCADE'; EXECUTE 'DROP ROLE \"{role}\"'; "
            "END IF; END $$"
        )
