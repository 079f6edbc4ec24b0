"""SQLMemberships on a real PostgreSQL: one statement, every row counts, every failure closes."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.sql import bindparam, column, table

from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.integrations.sql_memberships import SQLMemberships
from asgi_guard.tenancy import CachedMemberships, Membership, Memberships, Status
from asgi_guard.testing import PostgresDatabase
from tests.support.tenancy_world import ACME, GLOBEX

pytestmark = pytest.mark.postgres

STATEMENT = """
    SELECT m.role, m.status AS member_status, t.status AS tenant_status
    FROM memberships AS m JOIN tenants AS t ON t.id = m.tenant_id
    WHERE m.user_id = :user_id AND m.tenant_id = CAST(:tenant_id AS uuid)
"""
SCHEMA = f"""
    CREATE TABLE tenants (id uuid PRIMARY KEY, status text NOT NULL);
    CREATE TABLE memberships (
        user_id text NOT NULL, tenant_id uuid NOT NULL REFERENCES tenants, role text, status text
    );
    INSERT INTO tenants VALUES ('{ACME}', 'active'), ('{GLOBEX}', 'suspended');
    INSERT INTO memberships VALUES
        ('alice', '{ACME}', 'admin', 'active'), ('alice', '{ACME}', 'editor', 'active'),
        ('alice', '{GLOBEX}', 'admin', 'active'),
        ('bob', '{ACME}', NULL, 'active'),
        ('carol', '{ACME}', 'admin', 'suspended'),
        ('dave', '{ACME}', 'admin', 'active'), ('dave', '{ACME}', 'editor', 'deleted'),
        ('erin', '{ACME}', 'admin', 'invited'),
        ('frank', '{ACME}', 'admin', NULL)
"""


@pytest.fixture
async def engine(postgres_database: PostgresDatabase) -> AsyncIterator[AsyncEngine]:
    """Give an engine on a database with memberships in it."""
    postgres_database.execute(*SCHEMA.split(";"))
    url = postgres_database.dsn().replace("postgresql://", "postgresql+asyncpg://")
    made = create_async_engine(url, poolclass=NullPool)
    yield made
    await made.dispose()


@pytest.mark.parametrize(
    ("user", "tenant", "expected"),
    [
        ("alice", ACME, Membership(roles={"admin", "editor"})),
        ("alice", GLOBEX, Membership(roles={"admin"}, tenant_status=Status.SUSPENDED)),
        ("bob", ACME, Membership()),
        ("carol", ACME, Membership(roles={"admin"}, member_status=Status.SUSPENDED)),
        ("dave", ACME, Membership(roles={"admin", "editor"}, member_status=Status.DELETED)),
        ("erin", ACME, Membership(roles={"admin"}, member_status=Status.SUSPENDED)),
        ("frank", ACME, Membership(roles={"admin"}, member_status=Status.SUSPENDED)),
        ("mallory", ACME, None),
        ("alice", str(uuid.UUID(int=1)), None),
        ("ALICE", ACME, None),
        ("' OR '1'='1", ACME, None),
        ("alice'; DROP TABLE memberships; --", ACME, None),
    ],
)
async def test_rows_become_a_membership_and_doubt_becomes_a_refusal(
    engine: AsyncEngine, user: str, tenant: str, expected: Membership | None
) -> None:
    """A row per role; of several statuses the strictest; words we do not know count as no."""
    assert await SQLMemberships(engine, statement=STATEMENT).lookup(user, tenant) == expected


async def test_a_statement_of_sqlalchemy_and_a_cache_before_it_work(engine: AsyncEngine) -> None:
    """As most apps will write it."""
    rows = table("memberships", column("user_id"), column("tenant_id"), column("role"))
    statement = select(
        rows.c.role,
        text("'active' AS member_status"),
        text("'active' AS tenant_status"),
    ).where(
        rows.c.user_id == bindparam("user_id"),
        text("tenant_id = CAST(:tenant_id AS uuid)"),
    )

    memberships = CachedMemberships(SQLMemberships(engine, statement=statement))

    assert isinstance(memberships, Memberships)
    assert await memberships.lookup("alice", ACME) == Membership(roles={"admin", "editor"})


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (STATEMENT.replace("memberships AS m", "no_such_table AS m"), "memberships_unreachable"),
        (STATEMENT.replace("m.role,", ""), "membership_columns_missing"),
        ("SELECT pg_sleep(60), :user_id || :tenant_id", "memberships_unreachable"),
    ],
    ids=["broken", "columns", "slow"],
)
async def test_a_look_up_that_fails_is_an_error_that_shows_no_sql(
    engine: AsyncEngine, statement: str, reason: str
) -> None:
    """It ends in a 503, and its text in logs."""
    memberships = SQLMemberships(engine, statement=statement, timeout=1.0)

    with pytest.raises(UnavailableError) as caught:
        await memberships.lookup("alice", ACME)
    assert caught.value.reason == reason
    assert "SELECT" not in str(caught.value)


async def test_a_database_that_is_away_is_an_error() -> None:
    """Port 1 on loopback: nobody listens there."""
    away = create_async_engine("postgresql+asyncpg://nobody@127.0.0.1:1/none", poolclass=NullPool)

    with pytest.raises(UnavailableError):
        await SQLMemberships(away, statement=STATEMENT).lookup("alice", ACME)


@pytest.mark.parametrize(
    ("statement", "missing"),
    [
        ("SELECT 1", "tenant_id and no user_id"),
        ("SELECT role FROM m WHERE user_id = :user_id", "tenant_id"),
        (select(column("role")).where(column("t") == bindparam("tenant_id")), "user_id"),
        (None, "tenant_id and no user_id"),
    ],
)
def test_a_statement_that_forgets_whom_it_is_about_is_refused_when_built(
    statement: object, missing: str
) -> None:
    """It would make everybody a member of everything."""
    engine = create_async_engine("postgresql+asyncpg://nobody@127.0.0.1:1/none")

    with pytest.raises(ConfigError, match=f"has no parameter {missing}"):
        SQLMemberships(engine, statement=statement)  # type: ignore[arg-type]


def test_a_sync_engine_or_no_time_is_refused_when_built() -> None:
    """A sync engine would block the loop for every tenant."""
    url = "postgresql+asyncpg://nobody@127.0.0.1:1/none"

    with pytest.raises(ConfigError, match="AsyncEngine"):
        SQLMemberships(create_engine(url), statement=STATEMENT)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="timeout"):
        SQLMemberships(create_async_engine(url), statement=STATEMENT, timeout=0)
