"""A database of tenants with what policies do not reach: large objects, numbers, notifications."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest
from sqlalchemy import Column, ForeignKeyConstraint, Identity, MetaData, Table, Text, Uuid
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from asgi_guard.rls import (
    GuardedAsyncSession,
    LargeObjectTables,
    RLSVariables,
    TenantNumbers,
    create_guarded_pool,
    guarded_engine,
)
from asgi_guard.rls.policies import TenantPolicies, tenant_policies
from asgi_guard.tenancy import use_context
from asgi_guard.testing import PostgresDatabase, PostgresServer
from asgi_guard.testing.plugin import TemplateFactory
from tests.support.rls_schema import VARIABLES, RLSDatabase, context_of, fill
from tests.support.rls_sealed import KEYS, SEALED, seal_database

__all__ = ["CHANNEL_KEYS", "SharedWorld", "Way", "filled", "plain_only", "shared"]

CHANNEL_KEYS = KEYS
Way = Literal["asyncpg", "sqlalchemy"]


@dataclass(frozen=True)
class SharedWorld:
    """A test's own database, sealed or not, and the two ways to it."""

    rls: RLSDatabase
    variables: RLSVariables
    numbers: TenantNumbers
    large_objects: LargeObjectTables
    policies: TenantPolicies

    @property
    def sealed(self) -> dict[str, Any]:
        """What engines and pools need besides the names."""
        return {"seal_keys": KEYS} if self.variables.sealed else {}

    def on(self, database: PostgresDatabase) -> SharedWorld:
        """The same in another database."""
        return replace(self, rls=RLSDatabase(database))

    def admin(self, *statements: str) -> None:
        """Run SQL as the superuser."""
        self.rls.database.execute(*statements)

    @asynccontextmanager
    async def pool(self, **options: Any) -> AsyncIterator[Any]:
        """Make a guarded asyncpg pool."""
        sizes = {"min_size": 0, "max_size": 2} | options
        async with create_guarded_pool(
            self.rls.dsn, variables=self.variables, **self.sealed, **sizes
        ) as pool:
            yield pool

    @asynccontextmanager
    async def engine(self, **options: Any) -> AsyncIterator[Any]:
        """Make a guarded engine."""
        engine = guarded_engine(self.rls.url(), variables=self.variables, **self.sealed, **options)
        try:
            yield engine
        finally:
            await engine.dispose()

    def works_for(self, tenant: str, way: Way = "asyncpg") -> AbstractAsyncContextManager[Any]:
        """Give a handle inside a transaction of *tenant*, committed at the end."""
        return self._pooled(tenant) if way == "asyncpg" else self._session(tenant)

    @asynccontextmanager
    async def _pooled(self, tenant: str) -> AsyncIterator[Any]:
        with use_context(context_of(tenant)):
            async with (
                self.pool(max_size=1) as pool,
                pool.acquire() as connection,
                connection.transaction(),
            ):
                yield connection

    @asynccontextmanager
    async def _session(self, tenant: str) -> AsyncIterator[Any]:
        with use_context(context_of(tenant)):
            async with (
                self.engine() as engine,
                GuardedAsyncSession(engine) as session,
                session.begin(),
            ):
                yield session


def fill_plain(database: PostgresDatabase) -> None:
    """Make tenants, tables, policies, and what is under test."""
    fill(database)
    _add(database, _world(RLSDatabase(database), VARIABLES))


def filled(database: PostgresDatabase) -> SharedWorld:
    """Fill a database outside the session's server."""
    fill_plain(database)
    return _world(RLSDatabase(database), VARIABLES)


def fill_sealed(database: PostgresDatabase) -> None:
    """The same, sealed."""
    fill(database)
    seal_database(RLSDatabase(database))
    _add(database, _world(RLSDatabase(database), SEALED))


@pytest.fixture(params=["plain", "sealed"])
def shared(
    request: pytest.FixtureRequest,
    postgres_server: PostgresServer,
    postgres_template_factory: TemplateFactory,
) -> Iterator[SharedWorld]:
    """Give the test its own database, once plain and once sealed."""
    sealed = request.param == "sealed"
    template = postgres_template_factory(fill_sealed if sealed else fill_plain)
    name = f"{template}_copy"
    try:
        database = postgres_server.create_database(name, template)
        yield _world(RLSDatabase(database), SEALED if sealed else VARIABLES)
    finally:
        postgres_server.drop_database(name)


plain_only = pytest.mark.parametrize("shared", ["plain"], indirect=True)
"""For what does not depend on the binding."""


def _world(plain: RLSDatabase, variables: RLSVariables) -> SharedWorld:
    metadata = _tables()
    numbers = TenantNumbers(metadata, variables=variables)
    objects = LargeObjectTables(variables=variables, tenants="tenants.id")
    policies = tenant_policies(
        metadata, variables=variables, system_only=["tenants"], accept=objects.accepted
    )
    return SharedWorld(plain, variables, numbers, objects, policies)


def _add(database: PostgresDatabase, world: SharedWorld) -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call] # SQLAlchemy's own
    tables = world.numbers.table.metadata.sorted_tables
    database.execute(
        *(
            str(CreateTable(table).compile(dialect=dialect))
            for table in tables
            if table.name != "notes"
        ),
        *world.policies.statements(),
        "INSERT INTO tenants SELECT DISTINCT tenant_id FROM notes",
        *world.large_objects.statements(),
    )


def _tables() -> MetaData:
    metadata = MetaData()
    Table(
        "notes",
        metadata,
        Column("tenant_id", Uuid, primary_key=True),
        Column("id", postgresql.BIGINT, Identity(), primary_key=True),
        Column("body", Text, nullable=False),
    )
    Table("tenants", metadata, Column("id", Uuid, primary_key=True))
    Table(
        "attachments",
        metadata,
        Column("tenant_id", Uuid, primary_key=True),
        Column("id", Uuid, primary_key=True),
        Column("file", Uuid, nullable=False),
        ForeignKeyConstraint(["tenant_id"], ["tenants.id"], ondelete="CASCADE"),
    )
    return metadata
