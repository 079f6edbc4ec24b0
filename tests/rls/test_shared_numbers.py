"""Numbers for each tenant: from one, without gaps, none twice, and nobody else's business."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import MetaData
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateTable

from asgi_guard.errors import ConfigError, RLSViolationError
from asgi_guard.rls import TenantNumbers, guarded_engine, tenant_policies
from asgi_guard.tenancy import use_context
from tests.support.rls_schema import ALICE, BOB, VARIABLES, RLSDatabase, context_of
from tests.support.shared_objects import SharedWorld, Way, plain_only

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("way", ["asyncpg", "sqlalchemy"])
async def test_each_tenant_counts_for_itself(shared: SharedWorld, way: Way) -> None:
    """An invoice number must not tell how many invoices others write."""
    draw = shared.numbers.next_number
    async with shared.works_for(ALICE, way) as handle:
        assert [await draw(handle, "invoice") for _ in range(3)] == [1, 2, 3]
        assert await draw(handle, "ticket", start=1000) == 1000
    async with shared.works_for(BOB, way) as handle:
        assert await draw(handle, "invoice") == 1
    async with shared.works_for(ALICE, way) as handle:
        assert [await draw(handle, "invoice"), await draw(handle, "ticket")] == [4, 1001]


async def test_a_number_of_a_rollback_is_drawn_again(shared: SharedWorld) -> None:
    """Auditors ask for the missing invoice; a sequence leaves one at each rollback."""
    async with shared.pool() as pool:
        with use_context(context_of(ALICE)):
            async with pool.acquire() as connection:
                undone = connection.transaction()
                await undone.start()
                assert await shared.numbers.next_number(connection, "invoice") == 1
                await undone.rollback()
                assert await shared.numbers.next_number(connection, "invoice") == 1
                assert await shared.numbers.next_number(connection, "invoice") == 2


async def test_drawers_wait_for_each_other_and_nobody_gets_one_twice(
    shared: SharedWorld,
) -> None:
    """Two requests of one tenant at the same time are the ordinary case."""
    async with shared.pool(max_size=8) as pool:

        async def draw() -> int:
            async with pool.acquire() as connection, connection.transaction():
                return await shared.numbers.next_number(connection, "invoice")

        with use_context(context_of(ALICE)):
            drawn = await asyncio.gather(*(draw() for _ in range(24)))
        assert sorted(drawn) == list(range(1, 25))


@plain_only
async def test_other_tenants_and_series_do_not_wait(shared: SharedWorld) -> None:
    """One tenant's long transaction must not stop the others' invoices."""
    async with shared.pool() as pool, pool.acquire() as first, pool.acquire() as second:
        with use_context(context_of(ALICE)):
            open_one = first.transaction()
            await open_one.start()
            await shared.numbers.next_number(first, "invoice")
            async with second.transaction():
                await second.execute("SET LOCAL lock_timeout = '2s'")
                assert await shared.numbers.next_number(second, "ticket") == 1
        with use_context(context_of(BOB)):
            async with second.transaction():
                await second.execute("SET LOCAL lock_timeout = '2s'")
                assert await shared.numbers.next_number(second, "invoice") == 1
        with use_context(context_of(ALICE)):
            await open_one.rollback()


def test_a_sync_session_draws_too(shared: SharedWorld) -> None:
    """Not every app is asynchronous."""
    engine = guarded_engine(shared.rls.url("psycopg"), variables=shared.variables, **shared.sealed)
    with use_context(context_of(ALICE)), Session(engine) as session, session.begin():
        assert shared.numbers.next_number_sync(session, "invoice") == 1
        assert shared.numbers.next_number_sync(session, "invoice") == 2
    engine.dispose()


@plain_only
async def test_what_is_no_series_is_refused(shared: SharedWorld) -> None:
    """Before it is sent, so that the transaction goes on."""
    async with shared.works_for(ALICE) as handle:
        for series in ("", "x" * 201, "a\0b", None, 7):
            with pytest.raises(ConfigError):
                await shared.numbers.next_number(handle, series)  # type: ignore[arg-type]
        assert await shared.numbers.next_number(handle, "'); DROP TABLE notes; --") == 1
    async with shared.pool() as pool, pool.acquire() as connection:
        with pytest.raises(RLSViolationError, match="RLS_NOT_ENFORCED"):
            await shared.numbers.next_number(connection, "invoice")


async def test_names_that_must_be_quoted_work(rls_database: RLSDatabase) -> None:
    """A colon of a name is no parameter, and a capital is kept."""
    metadata = MetaData()
    numbers = TenantNumbers(metadata, name="Odd: numbers", variables=VARIABLES)
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call] # SQLAlchemy's own
    rls_database.database.execute(
        str(CreateTable(numbers.table).compile(dialect=dialect)),
        *tenant_policies(metadata, variables=VARIABLES).statements(),
    )
    engine = guarded_engine(rls_database.url(), variables=VARIABLES)
    with use_context(context_of(ALICE)):
        async with engine.begin() as connection:
            assert await numbers.next_number(connection, "a:b") == 1
    await engine.dispose()


def test_the_table_is_added_once() -> None:
    """Two counters of one name would hand out each number twice."""
    metadata = MetaData()
    TenantNumbers(metadata)

    with pytest.raises(ConfigError):
        TenantNumbers(metadata)
    with pytest.raises(ConfigError):
        TenantNumbers("metadata")  # type: ignore[arg-type]
    assert TenantNumbers(metadata, name="Odd Numbers", schema="order").table.schema == "order"
