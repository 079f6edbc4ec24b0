"""The three stores, each fresh, and what a test of any of them needs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from asgi_guard.integrations.sql_vault import SqlVaultStore
from asgi_guard.integrations.sql_vault_tables import VaultTables
from asgi_guard.rls import RLSVariables, guarded_engine, system_engine, tenant_policies
from asgi_guard.testing import PostgresDatabase
from asgi_guard.vault import FileVaultStore, InMemoryVaultStore, VaultStore

__all__ = [
    "KINDS",
    "METADATA",
    "TABLES",
    "VARIABLES",
    "Stores",
    "fill_vault",
    "opened_stores",
    "sql_store",
]

KINDS = ["memory", "file", pytest.param("sql", marks=pytest.mark.postgres)]
VARIABLES = RLSVariables(
    owner_role="vault_owner", runtime_role="vault_runtime", system_role="vault_system"
)
METADATA = MetaData()
TABLES = VaultTables(METADATA, variables=VARIABLES)
_PASSWORD = "vault-password"


def fill_vault(database: PostgresDatabase) -> None:
    """Make the tables, roles and policies; the server's superuser does it."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call] # SQLAlchemy's own
    database.execute(
        *(str(CreateTable(table).compile(dialect=dialect)) for table in METADATA.sorted_tables),
        *tenant_policies(METADATA, variables=VARIABLES).statements(),
        "SET scram_iterations = 1",
        f"ALTER ROLE {VARIABLES.runtime_role} PASSWORD '{_PASSWORD}'",
        f"ALTER ROLE {VARIABLES.system_role} PASSWORD '{_PASSWORD}'",
    )


@dataclass
class Stores:
    """One place to keep secrets, seen by as many processes as a test wants."""

    kind: str
    folder: Path
    memory: InMemoryVaultStore
    database: PostgresDatabase | None
    engines: list[Any]

    def another(self) -> VaultStore:
        """Give the store as a further process would open it."""
        if self.kind == "memory":
            return self.memory
        if self.kind == "file":
            return FileVaultStore(self.folder)
        return SqlVaultStore(
            self._engine(guarded_engine, VARIABLES.runtime_role),
            TABLES,
            system_engine=self._engine(system_engine, VARIABLES.system_role),
        )

    def sql(self, statement: str) -> None:
        """Change the database behind everybody's back."""
        if self.database is None:
            raise LookupError("there is no database")
        self.database.execute(statement)

    @property
    def address(self) -> str:
        """Where another process finds it: a folder, or the runtime role's URL."""
        if self.database is None:
            return str(self.folder)
        return self.database.dsn(VARIABLES.runtime_role, _PASSWORD)

    def _engine(self, make: Any, role: str) -> Any:
        if self.database is None:
            raise LookupError("there is no database")
        url = self.database.dsn(role, _PASSWORD).replace("postgresql:", "postgresql+asyncpg:", 1)
        engine = make(url, variables=VARIABLES, pool_size=2, max_overflow=0)
        self.engines.append(engine)
        return engine


def sql_store(address: str) -> SqlVaultStore:
    """Open the SQL store at *address*, in a process of its own."""
    url = address.replace("postgresql:", "postgresql+asyncpg:", 1)
    return SqlVaultStore(guarded_engine(url, variables=VARIABLES), TABLES)


@asynccontextmanager
async def opened_stores(
    kind: str, folder: Path, database: PostgresDatabase | None
) -> AsyncIterator[Stores]:
    """Give the stores of one *kind*, and close what they opened."""
    stores = Stores(kind, folder, InMemoryVaultStore(), database, [])
    yield stores
    for engine in stores.engines:
        await engine.dispose()
