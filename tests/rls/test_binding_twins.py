"""Every way through a transaction, once on the real binding and once on a broken one.

Each way leaves a connection behind in a pool of one; then code without a tenant uses that
connection, with the first wall taken away. On the real binding the database shows it nothing. On a
binding for the session, which nobody resets, the same code must see the last tenant's rows: a
proof that cannot fail proves nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from asgi_guard.rls import guarded_engine
from asgi_guard.tenancy import use_context
from tests.support.rls_broken import no_first_wall, session_level_binding
from tests.support.rls_schema import ALICE, NOTES_EACH, VARIABLES, Note, RLSDatabase, context_of

COUNT = select(func.count()).select_from(Note)
Way = Callable[[AsyncEngine], Awaitable[int | None]]


async def _after_commit(engine: AsyncEngine) -> int | None:
    async with AsyncSession(engine) as session:
        await session.execute(COUNT)
        await session.commit()
        seen = await session.scalar(COUNT)
        await session.commit()
        return seen


async def _second_begin(engine: AsyncEngine) -> int | None:
    async with engine.connect() as connection:
        async with connection.begin():
            await connection.execute(COUNT)
        async with connection.begin():
            return await connection.scalar(COUNT)


async def _savepoint_rolled_back(engine: AsyncEngine) -> int | None:
    async with engine.begin() as connection:
        savepoint = await connection.begin_nested()
        await connection.execute(COUNT)
        await savepoint.rollback()
        return await connection.scalar(COUNT)


async def _savepoint_released(engine: AsyncEngine) -> int | None:
    async with engine.begin() as connection:
        async with connection.begin_nested():
            await connection.execute(COUNT)
        return await connection.scalar(COUNT)


async def _drivers_own_connection(engine: AsyncEngine) -> int | None:
    async with engine.begin() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None
        seen: int = await raw.fetchval("SELECT count(*) FROM notes")
        return seen


async def _another_isolation_level(engine: AsyncEngine) -> int | None:
    level = {"isolation_level": "SERIALIZABLE"}
    async with engine.execution_options(**level).begin() as connection:
        return await connection.scalar(COUNT)


async def _recycled(engine: AsyncEngine) -> int | None:
    for _ in range(3):
        async with engine.begin() as connection:
            seen = await connection.scalar(COUNT)
    return seen


async def _streamed(engine: AsyncEngine) -> int | None:
    async with engine.connect() as connection, connection.begin():
        return len([row async for row in await connection.stream(select(Note.id))])


WAYS: list[Way] = [
    _after_commit,
    _second_begin,
    _savepoint_rolled_back,
    _savepoint_released,
    _drivers_own_connection,
    _another_isolation_level,
    _recycled,
    _streamed,
]


async def _left_for_nobody(database: RLSDatabase, way: Way, *, pre_ping: bool) -> int:
    """Go *way* as one tenant, and count what the next user of the connection sees without one."""
    engine = guarded_engine(
        database.url(), variables=VARIABLES, pool_size=1, max_overflow=0, pool_pre_ping=pre_ping
    )
    try:
        with use_context(context_of(ALICE)):
            assert await way(engine) == NOTES_EACH
        return await _look(engine)
    finally:
        await engine.dispose()


async def _look(engine: AsyncEngine) -> int:
    connection: AsyncConnection
    async with engine.connect() as connection:
        return int(await connection.scalar(text("SELECT count(*) FROM notes")) or 0)


@pytest.mark.parametrize("pre_ping", [False, True], ids=["plain", "pre_ping"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
@pytest.mark.parametrize(
    ("binding", "leaks"), [(no_first_wall, False), (session_level_binding, True)]
)
async def test_nothing_is_left_for_the_next_and_a_broken_binding_is_found_out(
    rls_database: RLSDatabase,
    way: Way,
    binding: Callable[[], AbstractContextManager[None]],
    *,
    leaks: bool,
    pre_ping: bool,
) -> None:
    """The second wall alone holds after each way; the control leaks after each way."""
    with binding():
        left = await _left_for_nobody(rls_database, way, pre_ping=pre_ping)

    assert left == (NOTES_EACH if leaks else 0)
