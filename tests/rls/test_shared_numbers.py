"""Numbers for each tenant: from one, without gaps, none twice, and nobody else's business."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy import MetaData
from sqlalchemy.orm import Session

from asgi_guard.errors import ConfigError, RLSViolationError
from asgi_guard.rls import TenantNumbers, guarded_engine
from asgi_guard.tenancy import use_context
from tests.support.rls_schema import ALICE, BOB, RLSDatabase, context_of
from tests.support.shared_objects import SharedWorld, Way, shared_world

pytestmark = pytest.mark.postgres


@pytest.fixture(params=[False, True], ids=["plain", "sealed"])
def world(request: pytest.FixtureRequest, rls_database: RLSDatabase) -> Iterator[SharedWorld]:
    with shared_world(rls_database, sealed=request.param) as made:
        yield made


@pytest.mark.parametrize("way", ["asyncpg", "sqlalchemy"])
async def test_each_tenant_counts_for_itself(world: SharedWorld, way: Way) -> None:
    """An invoice number must not tell how many invoices others write."""
    draw = world.numbers.next_number
    async with world.works_for(ALICE, way) as handle:
        assert [await draw(handle, "invoice") for _ in range(3)] == [1, 2, 3]
        assert await draw(handle, "ticket", start=1000) == 1000
    async with world.works_for(BOB, way) as handle:
        assert await draw(handle, "invoice") == 1
    async with world.works_for(ALICE, way) as handle:
        assert [await draw(handle, "invoice"), await draw(handle, "ticket")] == [4, 1001]


async def test_a_number_of_a_rollback_is_drawn_again(world: SharedWorld) -> None:
    """Auditors ask for the missing invoice; a sequence leaves one at each rollback."""
    async with world.pool() as pool:
        with use_context(context_of(ALICE)):
            async with pool.acquire() as connection:
                undone = connection.transaction()
                await undone.start()
                assert await world.numbers.next_number(connection, "invoice") == 1
                await undone.rollback()
                assert await world.numbers.next_number(connection, "invoice") == 1
                assert await world.numbers.next_number(connection, "invoice") == 2


async def test_drawers_wait_for_each_other_and_nobody_gets_one_twice(world: SharedWorld) -> None:
    """Two requests of one tenant at the same time are the ordinary case."""
    async with world.pool(max_size=8) as pool:

        async def draw() -> int:
            async with pool.acquire() as connection, connection.transaction():
                return await world.numbers.next_number(connection, "invoice")

        with use_context(context_of(ALICE)):
            drawn = await asyncio.gather(*(draw() for _ in range(24)))
        assert sorted(drawn) == list(range(1, 25))


async def test_other_tenants_and_series_do_not_wait(world: SharedWorld) -> None:
    """One tenant's long transaction must not stop the others' invoices."""
    async with world.pool() as pool, pool.acquire() as first, pool.acquire() as second:
        with use_context(context_of(ALICE)):
            open_one = first.transaction()
            await open_one.start()
            await world.numbers.next_number(first, "invoice")
            async with second.transaction():
                await second.execute("SET LOCAL lock_timeout = '2s'")
                assert await world.numbers.next_number(second, "ticket") == 1
        with use_context(context_of(BOB)):
            async with second.transaction():
                await second.execute("SET LOCAL lock_timeout = '2s'")
                assert await world.numbers.next_number(second, "invoice") == 1
        with use_context(context_of(ALICE)):
            await open_one.rollback()


def test_a_sync_session_draws_too(rls_database: RLSDatabase) -> None:
    """Not every app is asynchronous."""
    with shared_world(rls_database, sealed=False) as world:
        engine = guarded_engine(world.rls.url("psycopg"), variables=world.variables)
        with use_context(context_of(ALICE)), Session(engine) as session, session.begin():
            assert world.numbers.next_number_sync(session, "invoice") == 1
            assert world.numbers.next_number_sync(session, "invoice") == 2
        engine.dispose()


async def test_what_is_no_series_is_refused(world: SharedWorld) -> None:
    """Before it is sent, so that the transaction goes on."""
    async with world.works_for(ALICE) as handle:
        for series in ("", "x" * 201, "a\0b", None, 7):
            with pytest.raises(ConfigError):
                await world.numbers.next_number(handle, series)  # type: ignore[arg-type]
        assert await world.numbers.next_number(handle, "'); DROP TABLE notes; --") == 1
    async with world.pool() as pool, pool.acquire() as connection:
        with pytest.raises(RLSViolationError, match="RLS_NOT_ENFORCED"):
            await world.numbers.next_number(connection, "invoice")


def test_the_table_is_added_once() -> None:
    """Two counters of one name would hand out each number twice."""
    metadata = MetaData()
    TenantNumbers(metadata)

    with pytest.raises(ConfigError):
        TenantNumbers(metadata)
    with pytest.raises(ConfigError):
        TenantNumbers("metadata")  # type: ignore[arg-type]
    assert TenantNumbers(metadata, name="Odd Numbers", schema="order").table.schema == "order"
