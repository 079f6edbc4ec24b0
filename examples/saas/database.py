"""The database: roles, tables, policies and a few rows, made by an administrator at each start."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy import URL, Connection, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from asgi_guard.rls import (
    RLSVariables,
    SealKey,
    SealKeys,
    seal_key_statements,
    tenant_policies,
)
from asgi_guard.rls.ddl.passwords import password_statement
from asgi_guard.secret import Secret

from .models import Base, MembershipRow, Note, TenantRow
from .people import PEOPLE, TENANTS

# Sealed: the app signs whom it works for, and the database believes nothing else.
VARIABLES = RLSVariables(sealed=True)
POLICIES = tenant_policies(
    Base.metadata, variables=VARIABLES, system_only=["tenants", "memberships"]
)

# Sign-in asks the directory before any tenant is bound; its role may read two tables, no more.
DIRECTORY_ROLE = "app_directory"
_DIRECTORY = (
    f"CREATE ROLE {DIRECTORY_ROLE} LOGIN",
    f"GRANT SELECT ON tenants, memberships TO {DIRECTORY_ROLE}",
    f"CREATE POLICY directory_reads ON tenants FOR SELECT TO {DIRECTORY_ROLE} USING (true)",
    f"CREATE POLICY directory_reads ON memberships FOR SELECT TO {DIRECTORY_ROLE} USING (true)",
)


@dataclass(frozen=True, slots=True)
class DatabaseURLs:
    """Where the app connects, one URL per role, and what it signs tenants with.

    ``repr`` hides the passwords and the key.
    """

    runtime: URL
    directory: URL
    seal_keys: SealKeys


async def prepare(admin_dsn: str) -> DatabaseURLs:
    """Make everything in the database behind *admin_dsn*, and give the app's own ways in.

    Args:
        admin_dsn: A libpq URL of a superuser, for this function alone.
    """
    admin = make_url(admin_dsn).set(drivername="postgresql+asyncpg")
    passwords = {
        role: Secret(secrets.token_urlsafe(24)) for role in (VARIABLES.runtime_role, DIRECTORY_ROLE)
    }
    seal_keys = SealKeys([SealKey.generate()])
    engine = create_async_engine(admin)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_make, passwords)
            for statement in seal_key_statements(seal_keys, VARIABLES):
                await connection.exec_driver_sql(statement)
    finally:
        await engine.dispose()
    return DatabaseURLs(
        *(admin.set(username=role, password=word.reveal()) for role, word in passwords.items()),
        seal_keys=seal_keys,
    )


def _make(connection: Connection, passwords: dict[str, Secret]) -> None:
    Base.metadata.create_all(connection)
    POLICIES.apply(connection)
    for statement in _DIRECTORY:
        connection.exec_driver_sql(statement)
    for role, password in passwords.items():
        connection.exec_driver_sql(password_statement(role, password))
    _fill(connection)


def _fill(connection: Connection) -> None:
    connection.execute(
        TenantRow.__table__.insert(), [{"id": UUID(t.id), "name": t.name} for t in TENANTS]
    )
    connection.execute(
        MembershipRow.__table__.insert(),
        [{"member_of": UUID(p.tenant.id), "user_id": p.user, "role": p.role} for p in PEOPLE],
    )
    notes = [
        {"id": uuid4(), "tenant_id": UUID(p.tenant.id), "author": p.user, "text": text}
        for p in PEOPLE
        for text in (f"Only tenant {p.tenant.name} may read this", f"Written by {p.user}")
    ]
    for tenant in TENANTS:
        first = next(note for note in notes if note["tenant_id"] == UUID(tenant.id))
        first["id"] = UUID(tenant.known_note)
    connection.execute(Note.__table__.insert(), notes)
