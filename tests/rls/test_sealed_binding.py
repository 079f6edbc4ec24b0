"""A sealed binding works like a plain one, on every way to the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from asgi_guard.errors import ConfigError, RLSViolationError
from asgi_guard.rls import create_guarded_pool, guarded_engine, rls_enforced_session
from asgi_guard.rls.ddl.sealed import retire_seal_key_statement, seal_key_statements
from asgi_guard.rls.seal import SealKey, SealKeys
from asgi_guard.tenancy import use_context
from tests.support.pgbouncer import PgBouncer
from tests.support.rls_schema import (
    ALICE,
    BOB,
    NOTES_EACH,
    TENANTS,
    VARIABLES,
    RLSDatabase,
    context_of,
)
from tests.support.rls_sealed import KEYS, SEALED, seal_database

OWNERS = "SELECT DISTINCT tenant_id::text FROM notes"


@pytest.fixture
def database(rls_database: RLSDatabase) -> RLSDatabase:
    return seal_database(rls_database)


@pytest.fixture
async def pool(database: RLSDatabase) -> AsyncIterator[Any]:
    async with create_guarded_pool(
        database.dsn, variables=SEALED, seal_keys=KEYS, min_size=1, max_size=1
    ) as made:
        yield made


async def test_every_way_through_a_pool_sees_one_tenant(pool: Any) -> None:
    """A way that forgot the seal would see nothing, and one that kept the last would leak."""
    for tenant in (ALICE, BOB, ALICE):
        with use_context(context_of(tenant)):
            assert await pool.fetchval(OWNERS) == tenant
            async with pool.acquire() as connection:
                assert [row[0] for row in await connection.fetch(OWNERS)] == [tenant]
                async with connection.transaction():
                    assert await connection.fetchval(OWNERS) == tenant
                    async with connection.transaction():
                        assert await connection.fetchval(OWNERS) == tenant
                    rows = [row async for row in connection.cursor("SELECT * FROM notes")]
                    assert len(rows) == NOTES_EACH
                prepared = await connection.prepare("SELECT count(*) FROM notes WHERE id > $1")
                assert await prepared.fetchval(0) == NOTES_EACH
                assert await connection.execute(OWNERS) == "SELECT 1"
                assert await connection.fetchval("SELECT asgi_guard.current_user_id()") == "user-1"


async def test_a_transaction_begun_by_hand_is_sealed_and_stays_open(pool: Any) -> None:
    """BEGIN sent as text is somebody's transaction, and theirs to end."""
    with use_context(context_of(ALICE)):
        async with pool.acquire() as connection:
            await connection.execute("/* mine */ BEGIN ISOLATION LEVEL READ COMMITTED")
            assert connection.is_in_transaction()
            assert await connection.fetchval(OWNERS) == ALICE
            await connection.execute("INSERT INTO notes (body) VALUES ('kept')")
            await connection.execute("COMMIT")
            assert not connection.is_in_transaction()
            assert await connection.fetchval("SELECT count(*) FROM notes") == NOTES_EACH + 1


async def test_statement_text_outside_a_transaction_is_committed_or_undone_as_one(
    pool: Any,
) -> None:
    """Several statements in one text are one transaction, sealed or not."""
    with use_context(context_of(ALICE)):
        async with pool.acquire() as connection:
            await connection.execute("INSERT INTO notes (body) VALUES ('a'); SELECT 1")
            with pytest.raises(asyncpg.DivisionByZeroError):
                await connection.execute("INSERT INTO notes (body) VALUES ('b'); SELECT 1/0")
            assert not connection.is_in_transaction()
            assert await connection.fetchval("SELECT count(*) FROM notes") == NOTES_EACH + 1


async def test_a_call_that_is_awaited_later_runs_for_whoever_awaits_it_or_not_at_all(
    pool: Any,
) -> None:
    """Another's transaction may have begun on the connection in between."""
    async with pool.acquire() as connection:
        with use_context(context_of(ALICE)):
            later = connection.execute("UPDATE notes SET body = 'alice was here'")
        with use_context(context_of(BOB)):
            transaction = connection.transaction()
            await transaction.start()
        with use_context(context_of(ALICE)), pytest.raises(RLSViolationError) as refused:
            await later
        assert refused.value.code == "TENANT_MISMATCH"
        with use_context(context_of(BOB)):
            touched = "SELECT count(*) FROM notes WHERE body = 'alice was here'"
            assert await connection.fetchval(touched) == 0
            await transaction.rollback()


async def test_without_a_tenant_nothing_is_sent(pool: Any) -> None:
    """The first wall does not depend on the seal."""
    for look in (pool.fetch(OWNERS), pool.execute(OWNERS)):
        with pytest.raises(RLSViolationError) as refused:
            await look
        assert refused.value.code == "RLS_NOT_ENFORCED"


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg_async"])
async def test_sqlalchemy_sees_one_tenant_again_after_each_commit(
    database: RLSDatabase, driver: str
) -> None:
    """The token belongs to one transaction; the next one gets its own."""
    engine = guarded_engine(
        database.url(driver), variables=SEALED, seal_keys=KEYS, pool_size=1, max_overflow=0
    )
    try:
        for tenant in (ALICE, BOB):
            with use_context(context_of(tenant)):
                async with AsyncSession(engine) as session:
                    for _ in range(3):
                        assert (await session.scalars(text(OWNERS))).all() == [tenant]
                        await session.commit()
            async with rls_enforced_session(engine, tenant, "sealed.look") as tenant_db:
                assert await tenant_db.scalar(text(OWNERS)) == tenant
    finally:
        await engine.dispose()


def test_a_sync_engine_sees_one_tenant(database: RLSDatabase) -> None:
    """Psycopg sends the token as a parameter, too."""
    engine = guarded_engine(database.url("psycopg"), variables=SEALED, seal_keys=KEYS)
    try:
        for tenant in (ALICE, BOB):
            with use_context(context_of(tenant)), engine.connect() as connection:
                assert connection.scalar(text(OWNERS)) == tenant
    finally:
        engine.dispose()


@pytest.mark.pgbouncer
async def test_behind_a_transaction_pooler_tokens_name_no_server_process(
    database: RLSDatabase, pgbouncer: Callable[..., PgBouncer]
) -> None:
    """Nobody knows there which process the next transaction runs in."""
    pooler = pgbouncer(database.database, users=database.users, pool_size=2)
    dsn = pooler.dsn(VARIABLES.runtime_role, database.password)
    async with create_guarded_pool(
        dsn, variables=SEALED, seal_keys=KEYS, transaction_pooler=True, min_size=0, max_size=6
    ) as pool:

        async def work(tenant: str) -> set[str]:
            seen = set()
            with use_context(context_of(tenant)):
                for _ in range(4):
                    async with pool.acquire() as connection, connection.transaction():
                        seen |= {row[0] for row in await connection.fetch(OWNERS)}
                    seen.add(await pool.fetchval(OWNERS))
            return seen - {tenant}

        assert await asyncio.gather(*(work(tenant) for tenant in TENANTS[:12])) == [set()] * 12


async def test_keys_rotate_without_a_gap_and_a_retired_one_opens_nothing(
    database: RLSDatabase,
) -> None:
    """Known to the database first, then signing, then retired: no request in between fails."""
    new = SealKeys([SealKey.generate()])
    old_pool = create_guarded_pool(
        database.dsn, variables=SEALED, seal_keys=KEYS, min_size=1, max_size=1
    )
    new_pool = create_guarded_pool(
        database.dsn, variables=SEALED, seal_keys=new, min_size=1, max_size=1
    )
    with use_context(context_of(ALICE)):
        async with old_pool, new_pool:
            with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
                await new_pool.fetchval(OWNERS)
            database.database.execute(*seal_key_statements(new, SEALED))
            assert await old_pool.fetchval(OWNERS) == await new_pool.fetchval(OWNERS) == ALICE
            database.database.execute(retire_seal_key_statement(KEYS.signing.key_id, SEALED))
            assert await new_pool.fetchval(OWNERS) == ALICE
            with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
                await old_pool.fetchval(OWNERS)


@pytest.mark.parametrize(
    ("driver", "variables", "keys"),
    [
        ("asyncpg", SEALED, None),
        ("asyncpg", VARIABLES, KEYS),
        ("psycopg", SEALED, None),
        ("psycopg2", SEALED, KEYS),
    ],
    ids=["no keys", "keys for nothing", "no keys, sync", "a driver that writes them into text"],
)
def test_settings_that_do_not_go_together_are_refused(
    driver: str, variables: Any, keys: Any
) -> None:
    """Half a seal is none: the app must not start with it."""
    pytest.importorskip(driver)
    url = f"postgresql+{driver}://nobody:x@127.0.0.1:1/none"

    with pytest.raises(ConfigError):
        guarded_engine(url, variables=variables, seal_keys=keys)
