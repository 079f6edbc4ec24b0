"""A database with tenants in it: one guarded table, a hundred tenants, three notes each."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, FetchedValue, Identity, MetaData, Text, Uuid
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.schema import CreateTable

from asgi_guard.rls.policies import tenant_policies
from asgi_guard.rls.variables import RLSVariables
from asgi_guard.tenancy import UserExecutionContext
from asgi_guard.testing import PostgresDatabase

__all__ = [
    "ALICE",
    "BOB",
    "NOTES_EACH",
    "TENANTS",
    "VARIABLES",
    "Note",
    "RLSDatabase",
    "context_of",
    "fill",
]

# Roles belong to the server, and other tests make theirs on the same one.
VARIABLES = RLSVariables(
    owner_role="bind_owner", runtime_role="bind_runtime", system_role="bind_system"
)
TENANTS = [str(uuid.UUID(int=number + 1)) for number in range(100)]
ALICE, BOB = TENANTS[0], TENANTS[1]
NOTES_EACH = 3
_PASSWORD = "bind-password"


class Base(DeclarativeBase):
    metadata = MetaData()


class Note(Base):
    __tablename__ = "notes"
    tenant_id: Mapped[uuid.UUID] = mapped_column(
        Uuid, primary_key=True, server_default=FetchedValue()
    )
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    body: Mapped[str] = mapped_column(Text)


@dataclass(frozen=True)
class RLSDatabase:
    """A test's own copy, and the ways into it."""

    database: PostgresDatabase

    @property
    def dsn(self) -> str:
        """The runtime role's libpq URL."""
        return self.database.dsn(VARIABLES.runtime_role, _PASSWORD)

    @property
    def system_dsn(self) -> str:
        """The system role's libpq URL."""
        return self.database.dsn(VARIABLES.system_role, _PASSWORD)

    @property
    def users(self) -> dict[str, str]:
        """Role names and passwords, for a pooler in front."""
        return {VARIABLES.runtime_role: _PASSWORD, VARIABLES.system_role: _PASSWORD}

    @property
    def password(self) -> str:
        """The password of both roles."""
        return _PASSWORD

    def url(self, driver: str = "asyncpg", *, dsn: str | None = None) -> str:
        """A SQLAlchemy URL for the runtime role."""
        return (dsn or self.dsn).replace("postgresql://", f"postgresql+{driver}://", 1)


def context_of(tenant_id: str, *, user_id: str = "user-1", **fields: Any) -> UserExecutionContext:
    """Make a context for one of the tenants."""
    return UserExecutionContext(tenant_id=tenant_id, user_id=user_id, **fields)


def fill(database: PostgresDatabase) -> None:
    """Make tables, roles, policies and rows; the server's superuser does it."""
    notes = Base.metadata.tables["notes"]
    create = str(CreateTable(notes).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call] # SQLAlchemy's own
    policies = tenant_policies(Base.metadata, variables=VARIABLES)
    database.execute(
        create,
        *policies.statements(),
        "INSERT INTO notes (tenant_id, body) SELECT ('00000000-0000-0000-0000-' || "
        "lpad(to_hex(t), 12, '0'))::uuid, 'note ' || n FROM generate_series(1, 100) t, "
        f"generate_series(1, {NOTES_EACH}) n ORDER BY t, n",
        # A login of 4096 rounds would be most of the time of tests that connect a lot.
        # PostgreSQL 15 does not know the setting.
        "SELECT set_config(name, '1', false) FROM pg_settings WHERE name = 'scram_iterations'",
        f"ALTER ROLE {VARIABLES.runtime_role} PASSWORD '{_PASSWORD}'",
        f"ALTER ROLE {VARIABLES.system_role} PASSWORD '{_PASSWORD}'",
    )
