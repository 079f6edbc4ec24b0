"""Behind PgBouncer in transaction mode each transaction is bound, wherever it lands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from asgi_guard.errors import RLSViolationError
from asgi_guard.rls import create_guarded_pool, guarded_engine, rls_enforced_session
from asgi_guard.tenancy import use_context
from tests.support.pgbouncer import PgBouncer
from tests.support.rls_broken import no_first_wall, session_level_binding
from tests.support.rls_schema import ALICE, TENANTS, VARIABLES, RLSDatabase, context_of

OWNERS = "SELECT DISTINCT tenant_id::text FROM notes WHERE body <> $1"

pytestmark = pytest.mark.pgbouncer


@pytest.fixture
def pooled_dsn(rls_database: RLSDatabase, pgbouncer: Callable[..., PgBouncer]) -> str:
    """Two server connections for everybody, so that tenants share them at once."""
    pooler = pgbouncer(rls_database.database, users=rls_database.users, pool_size=2)
    return pooler.dsn(VARIABLES.runtime_role, rls_database.password)


async def _foreign_rows(dsn: str, *, tenants: list[str], rounds: int) -> int:
    """Let tenants work at once through the pooler; count what of others they saw."""
    foreign = 0
    async with create_guarded_pool(
        dsn, variables=VARIABLES, transaction_pooler=True, min_size=0, max_size=6
    ) as pool:

        async def look(where: Any) -> set[str]:
            return {row[0] for row in await where.fetch(OWNERS, "x")}

        async def work(tenant: str) -> None:
            nonlocal foreign
            with use_context(context_of(tenant)):
                for _ in range(rounds):
                    async with pool.acquire() as connection:
                        async with connection.transaction():
                            inside = await look(connection)
                        alone = await look(connection)
                    foreign += len((inside | alone) - {tenant})
            try:
                unbound = await look(pool)
            except RLSViolationError:
                unbound = set()
            foreign += len(unbound)

        await asyncio.gather(*(work(tenant) for tenant in tenants))
    return foreign


async def test_tenants_that_share_server_connections_never_cross(pooled_dsn: str) -> None:
    """In a block and outside, twenty at a time over two server connections."""
    assert await _foreign_rows(pooled_dsn, tenants=TENANTS[:20], rounds=20) == 0


async def test_the_second_wall_stands_alone_behind_the_pooler(pooled_dsn: str) -> None:
    """Unbound statements reach a server connection that others have just used: no row."""
    with no_first_wall():
        assert await _foreign_rows(pooled_dsn, tenants=TENANTS[:20], rounds=5) == 0


async def test_the_same_proof_reports_a_leak_on_a_broken_binding(pooled_dsn: str) -> None:
    """Negative control: with a session-level SET the next client is the last one's tenant."""
    with session_level_binding():
        assert await _foreign_rows(pooled_dsn, tenants=TENANTS[:20], rounds=5) > 0


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg_async"])
async def test_sqlalchemy_works_behind_the_pooler(pooled_dsn: str, driver: str) -> None:
    """Statements that the driver would prepare by name do not exist on the next connection."""
    url = pooled_dsn.replace("postgresql://", f"postgresql+{driver}://")
    engine = guarded_engine(url, variables=VARIABLES, transaction_pooler=True)

    async def work(tenant: str) -> None:
        with use_context(context_of(tenant)):
            for _ in range(8):  # psycopg prepares at the fifth
                async with AsyncSession(engine) as session:
                    for _ in range(2):
                        seen = await session.execute(
                            text("SELECT DISTINCT tenant_id::text FROM notes WHERE body <> :b"),
                            {"b": "x"},
                        )
                        assert set(seen.scalars()) == {tenant}
                        await session.commit()

    await asyncio.gather(*(work(tenant) for tenant in TENANTS[:6]))
    async with rls_enforced_session(engine, ALICE, "job") as db:
        assert await db.scalar(text("SELECT count(*) FROM notes")) == 3
    await engine.dispose()
