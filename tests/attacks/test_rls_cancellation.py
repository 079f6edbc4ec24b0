"""A request cancelled at any await leaves no tenant behind on the connection it used.

Clients hang up, servers time out, task groups give up: each cancels in the middle of opening,
querying, committing or closing. What comes next on the same connection must be the next tenant's.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from asgi_guard.errors import RLSViolationError
from asgi_guard.rls import create_guarded_pool, guarded_engine
from asgi_guard.tenancy import use_context
from tests.support.rls_broken import no_first_wall, session_level_binding
from tests.support.rls_schema import ALICE, BOB, VARIABLES, RLSDatabase, context_of
from tests.support.rls_steps import run_cancelled_at

OWNERS = "SELECT DISTINCT tenant_id::text FROM notes"
MORE_STEPS_THAN_ANY = 400

Work = Callable[[], Awaitable[set[str]]]


@asynccontextmanager
async def _asyncpg_pool(database: RLSDatabase) -> AsyncIterator[Work]:
    """One raw connection, in a transaction block with a savepoint."""
    pool = create_guarded_pool(database.dsn, variables=VARIABLES, min_size=0, max_size=1)

    async def work() -> set[str]:
        async with (
            pool.acquire() as connection,
            connection.transaction(),
            connection.transaction(),  # a savepoint
        ):
            return {row[0] for row in await connection.fetch(OWNERS)}

    async with pool:
        yield work


@asynccontextmanager
async def _lone_statements(database: RLSDatabase) -> AsyncIterator[Work]:
    """One raw connection, statements outside any block."""
    pool = create_guarded_pool(database.dsn, variables=VARIABLES, min_size=0, max_size=1)

    async def work() -> set[str]:
        await pool.execute("SELECT 1")
        return {row[0] for row in await pool.fetch(OWNERS)}

    async with pool:
        yield work


def _orm(driver: str) -> Callable[[RLSDatabase], Any]:
    @asynccontextmanager
    async def orm(database: RLSDatabase) -> AsyncIterator[Work]:
        """One pooled connection, a session with a savepoint and a second transaction."""
        engine = guarded_engine(
            database.url(driver), variables=VARIABLES, pool_size=1, max_overflow=0, pool_timeout=5
        )

        async def work() -> set[str]:
            async with AsyncSession(engine) as session:
                async with session.begin_nested():
                    seen = set((await session.execute(text(OWNERS))).scalars())
                await session.commit()
                return seen | set((await session.execute(text(OWNERS))).scalars())

        yield work
        await engine.dispose()

    orm.__name__ = f"sqlalchemy-{driver}"
    return orm


WAYS = [_asyncpg_pool, _lone_statements, _orm("asyncpg"), _orm("psycopg_async")]


async def _foreign_rows_after_each_cancellation(
    way: Callable[[RLSDatabase], Any], database: RLSDatabase
) -> tuple[int, int]:
    """Cancel Alice's work at its 1st, 2nd, ... wait; after each look as Bob and as nobody.

    Returns:
        How many steps there were, and how many rows of Alice's somebody else saw.
    """
    foreign = step = 0
    async with way(database) as work:
        reached = True
        while reached and step < MORE_STEPS_THAN_ANY:
            step += 1
            with use_context(context_of(ALICE)):
                reached = await run_cancelled_at(step, work())
            foreign += await _seen_without_tenant(work)
            with use_context(context_of(BOB)):
                seen = await work()
            assert BOB in seen
            foreign += len(seen - {BOB})
            foreign += await _seen_without_tenant(work)
    return step, foreign


async def _seen_without_tenant(work: Work) -> int:
    try:
        return len(await work())
    except RLSViolationError:
        return 0


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # a cancelled connect leaves its transport
async def test_a_cancellation_at_any_await_leaves_no_tenant_behind(
    rls_database: RLSDatabase, way: Callable[[RLSDatabase], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Not some points: every one there is, in opening, querying, committing and closing."""
    caplog.set_level(logging.CRITICAL)  # SQLAlchemy tells of each connection it terminates

    steps, foreign = await _foreign_rows_after_each_cancellation(way, rls_database)

    assert foreign == 0
    assert 5 < steps < MORE_STEPS_THAN_ANY


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_the_same_proof_reports_a_leak_on_a_broken_binding(
    rls_database: RLSDatabase, way: Callable[[RLSDatabase], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Negative control: a session-level SET that nobody resets."""
    caplog.set_level(logging.CRITICAL)
    with session_level_binding():
        _, foreign = await _foreign_rows_after_each_cancellation(way, rls_database)

    assert foreign > 0


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_the_second_wall_stands_alone(
    rls_database: RLSDatabase, way: Callable[[RLSDatabase], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """With the first wall taken out, unbound statements are sent, and are shown no row."""
    caplog.set_level(logging.CRITICAL)
    with no_first_wall():
        _, foreign = await _foreign_rows_after_each_cancellation(way, rls_database)

    assert foreign == 0


async def test_a_first_message_that_fails_ends_the_connection(rls_database: RLSDatabase) -> None:
    """A pool would else hand out one that is stuck half-way into somebody's transaction."""
    async with create_guarded_pool(
        rls_database.dsn, variables=VARIABLES, min_size=1, max_size=1
    ) as pool:
        with use_context(context_of(ALICE)):
            async with pool.acquire() as connection:
                pid = connection.get_server_pid()
                transaction = connection.transaction(isolation="serializable", readonly=True)
                rls_database.database.execute(f"SELECT pg_terminate_backend({pid})")
                with pytest.raises((asyncpg.PostgresError, OSError, asyncpg.InterfaceError)):
                    await transaction.start()
        assert pool.get_size() == 0
        with use_context(context_of(BOB)):
            assert {row[0] for row in await pool.fetch(OWNERS)} == {BOB}
