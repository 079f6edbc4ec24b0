"""A hundred tenants over five connections, a fifth of the work cancelled somewhere: no row crosses.

100 tenants times 1,000 transactions, each of which must see its own tenant's rows and nothing
else. It takes a minute or two.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from asgi_guard.errors import RLSViolationError
from asgi_guard.rls import GuardedPool, create_guarded_pool, guarded_engine
from asgi_guard.tenancy import use_context
from tests.support.rls_broken import session_level_binding
from tests.support.rls_schema import TENANTS, VARIABLES, RLSDatabase, context_of
from tests.support.rls_steps import run_cancelled_at

OWNERS = "SELECT DISTINCT tenant_id::text FROM notes"
CANCELLED_SHARE = 0.2
LAST_STEP = 8
FORGETFUL_SHARE = 0.01

Look = Callable[[], Awaitable[set[str]]]


class Crowd:
    """Tenants that work at once, and what each saw."""

    def __init__(self, look: Look, *, seed: int) -> None:
        self._look = look
        self._random = random.Random(seed)  # noqa: S311 - a test's dice, to be thrown again
        self.seen = self.cancelled = self.foreign = 0

    async def work(self, *, transactions: int) -> None:
        """Let every tenant run so many transactions."""
        async with asyncio.TaskGroup() as group:
            for tenant in TENANTS:
                group.create_task(self._work_as(tenant, transactions))

    async def _work_as(self, tenant: str, transactions: int) -> None:
        for _ in range(transactions):
            dice = self._random.random()
            if dice < FORGETFUL_SHARE:
                await self._forget_the_tenant()
            with use_context(context_of(tenant)):
                if dice < CANCELLED_SHARE:
                    step = self._random.randint(1, LAST_STEP)
                    reached = await run_cancelled_at(step, self._transaction(tenant))
                    self.cancelled += reached  # not in one line: others add meanwhile
                else:
                    await self._transaction(tenant)

    async def _transaction(self, tenant: str) -> None:
        owners = await self._look()
        self.seen += owners == {tenant}
        self.foreign += len(owners - {tenant})

    async def _forget_the_tenant(self) -> None:
        with contextlib.suppress(RLSViolationError):
            owners = await self._look()
            self.foreign += len(owners)


def _pool_look(pool: GuardedPool) -> Look:
    async def look() -> set[str]:
        async with pool.acquire() as connection, connection.transaction():
            return {row[0] for row in await connection.fetch(OWNERS)}

    return look


def _session_look(engine: AsyncEngine) -> Look:
    async def look() -> set[str]:
        async with AsyncSession(engine) as session:
            owners = set((await session.execute(text(OWNERS))).scalars())
            await session.commit()
            return owners

    return look


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # a cancelled connect leaves its transport
async def test_a_hundred_thousand_transactions_of_a_hundred_tenants_never_cross(
    rls_database: RLSDatabase,
) -> None:
    """Raw asyncpg, five connections, a fifth cancelled at a random await."""
    async with create_guarded_pool(
        rls_database.dsn, variables=VARIABLES, min_size=5, max_size=5
    ) as pool:
        crowd = Crowd(_pool_look(pool), seed=1)
        await crowd.work(transactions=1000)

    assert crowd.foreign == 0
    assert crowd.cancelled > 10_000
    assert crowd.seen + crowd.cancelled >= 100_000


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_five_thousand_sessions_of_a_hundred_tenants_never_cross(
    rls_database: RLSDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    """The same through SQLAlchemy's pool and sessions."""
    caplog.set_level(logging.CRITICAL)  # SQLAlchemy tells of each connection it terminates
    engine = guarded_engine(rls_database.url(), variables=VARIABLES, pool_size=5, max_overflow=0)
    crowd = Crowd(_session_look(engine), seed=2)

    await crowd.work(transactions=50)
    await engine.dispose()

    assert crowd.foreign == 0
    assert crowd.cancelled > 500
    assert crowd.seen + crowd.cancelled >= 5_000


@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_the_same_crowd_finds_the_leak_of_a_broken_binding(
    rls_database: RLSDatabase,
) -> None:
    """Negative control: a session-level SET that nobody resets, and forgetful code."""
    with session_level_binding():
        async with create_guarded_pool(
            rls_database.dsn, variables=VARIABLES, min_size=5, max_size=5
        ) as pool:
            crowd = Crowd(_pool_look(pool), seed=1)
            await crowd.work(transactions=20)

    assert crowd.foreign > 0
