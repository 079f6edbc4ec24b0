"""SQLStore: what a database adds to the contract: locks, pools, roles, rows that stay behind."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import Column, MetaData, String, Table, create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine

from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.integrations.sql_store import SQLStore, create_state_table, state_table
from asgi_guard.rls import guarded_engine, system_engine
from asgi_guard.testing import PostgresDatabase
from asgi_guard.testing.launch import free_port
from tests.support import store_contract
from tests.support.headers_clock import MovedClock
from tests.support.store_kinds import TABLE, engine_for

pytestmark = pytest.mark.postgres
CANARY = "canary-in-a-session"


@pytest.fixture
async def engine(postgres_database: PostgresDatabase) -> AsyncIterator[AsyncEngine]:
    made = engine_for("asyncpg", postgres_database.dsn(), pool_size=2, max_overflow=0)
    await create_state_table(made, TABLE)
    yield made
    await made.dispose()


async def rows(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return int(await connection.scalar(text("SELECT count(*) FROM guard_state")) or 0)


async def refusal_of(call: Any) -> UnavailableError:
    with pytest.raises(UnavailableError) as refused:
        await call
    printed = "".join(traceback.format_exception(refused.value))
    assert CANARY not in printed, "a traceback is a log line"
    return refused.value


async def test_rows_of_what_has_ended_are_removed_on_the_way(engine: AsyncEngine) -> None:
    """A replay cache writes for ever; its table must not grow for ever."""
    clock = MovedClock()
    store = SQLStore(engine, TABLE, clock=clock)
    await store.put("lasting", b"1", ttl=10_000)
    for number in range(300):
        await store.put_if_absent(f"proof-{number}", b"1", ttl=60)
    clock.move(361)
    assert await rows(engine) == 301

    for number in range(64):
        await store.put_if_absent(f"later-{number}", b"1", ttl=60)

    assert await rows(engine) < 150
    assert await store.purge() > 0
    assert await store.purge() == 0
    assert await rows(engine) == 65
    assert await store.get("lasting") == b"1"


async def test_a_process_whose_clock_is_ahead_removes_nothing_that_is_in_use(
    engine: AsyncEngine,
) -> None:
    """For itself an entry has ended; the rows are everybody's."""
    here, ahead = MovedClock(), MovedClock()
    ahead.move(299)
    await SQLStore(engine, TABLE, clock=here).put("s", b"1", ttl=1)

    assert await SQLStore(engine, TABLE, clock=ahead).purge() == 0
    assert await SQLStore(engine, TABLE, clock=here).get("s") == b"1"


async def test_purges_do_not_wait_for_each_other(engine: AsyncEngine) -> None:
    """Two workers that lock the same rows in another order would end in a deadlock."""
    clock = MovedClock()
    store = SQLStore(engine, TABLE, clock=clock)
    for number in range(40):
        await store.put(f"k{number}", b"1", ttl=1)
    clock.move(302)

    async with engine.begin() as other:
        await other.execute(text("SELECT * FROM guard_state WHERE key < 'k2' FOR UPDATE"))
        removed = await store.purge()

    assert 0 < removed < 40
    assert removed + await store.purge() == 40


async def test_a_lock_that_is_not_let_go_ends_in_an_error_and_a_free_connection(
    engine: AsyncEngine,
) -> None:
    """A caller waits as long as it was told, and the pool is whole afterwards."""
    store = SQLStore(engine, TABLE, timeout=0.2)
    async with engine.begin() as other:
        await other.execute(text("LOCK TABLE guard_state"))
        refused = await refusal_of(store.put("k", CANARY.encode(), ttl=60))

    assert refused.reason == "sql_store_timeout"
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert await store.get("k") is None


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_a_call_cancelled_anywhere_gives_its_connection_back(
    postgres_database: PostgresDatabase, driver: str
) -> None:
    """With two connections, two that leak are an outage."""
    engine = engine_for(driver, postgres_database.dsn(), pool_size=2, max_overflow=0)
    await create_state_table(engine, TABLE)
    store = SQLStore(engine, TABLE, timeout=10)
    ends = set()
    for depth in (*range(20), *(round(1.3**power) for power in range(12, 30))):
        call = asyncio.create_task(store.put_if_absent(f"k{depth}", b"1", ttl=60))
        for _ in range(depth):
            await asyncio.sleep(0)
        call.cancel()
        ends |= {type(end) for end in await asyncio.gather(call, return_exceptions=True)}

    await store.finish()
    assert asyncio.CancelledError in ends
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert await store.get("none") is None
    await engine.dispose()


async def test_a_server_of_serializable_transactions_has_one_winner_too(
    postgres_database: PostgresDatabase,
) -> None:
    """Losers may be told that it failed; that two won is never told."""
    name = postgres_database.name
    postgres_database.execute(
        f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'serializable'"
    )
    engine = engine_for("asyncpg", postgres_database.dsn(), pool_size=12)
    await create_state_table(engine, TABLE)
    store = SQLStore(engine, TABLE)
    await store.put("there-k", b"old", ttl=60)

    for race in store_contract.RACES.values():
        calls = [race(store, "k", racer) for racer in range(12)]
        won = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(end is True for end in won) <= 1
        assert {type(end) for end in won} <= {bool, UnavailableError}
        await store.put("there-k", b"old", ttl=60)
    await engine.dispose()


async def test_a_database_that_does_not_answer_is_said_to(engine: AsyncEngine) -> None:
    """Nobody listens, the password is wrong, the table is gone: the driver's text stays inside."""
    nobody = f"postgresql://u:{CANARY}@127.0.0.1:{free_port()}/d"
    wrong = engine.url.set(password=CANARY, drivername="postgresql")
    for address in (nobody, wrong.render_as_string(hide_password=False)):
        away = engine_for("asyncpg", address)
        for call in (SQLStore(away, TABLE).get("k"), SQLStore(away, TABLE).check()):
            assert (await refusal_of(call)).reason == "sql_store_failed"
        await away.dispose()

    other = SQLStore(engine, state_table(MetaData(), name="elsewhere"))
    refused = await refusal_of(other.put("k", CANARY.encode(), ttl=60))
    await SQLStore(engine, TABLE).check()

    assert "SQLSTATE 42P01" in refused.__notes__[0]
    await refusal_of(other.check())


async def test_engines_that_would_need_a_tenant_or_cross_them_are_refused(
    engine: AsyncEngine, postgres_database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At start-up, in words; not as RLS_NOT_ENFORCED at the first login."""
    url = engine.url.render_as_string(hide_password=False)
    for make in (guarded_engine, system_engine):
        with pytest.raises(ConfigError, match="guarded or crosses tenants"):
            SQLStore(make(url), TABLE)
    with pytest.raises(ConfigError, match="is a Engine"):
        SQLStore(create_engine("sqlite://"), TABLE)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="other columns"):
        SQLStore(engine, Table("t", MetaData(), Column("key", String)))
    with pytest.raises(ConfigError, match="timeout"):
        SQLStore(engine, TABLE, timeout=0)
    monkeypatch.setattr(engine.dialect, "name", "mysql")
    with pytest.raises(ConfigError, match="of mysql"):
        SQLStore(engine, TABLE)
