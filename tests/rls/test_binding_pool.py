"""`create_guarded_pool`: raw asyncpg, bound with and without a transaction block."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from asgi_guard.errors import ConfigError, RLSViolationError, UnavailableError
from asgi_guard.rls import GuardedPool, create_guarded_pool, is_guarded, variables_of
from asgi_guard.tenancy import use_context
from tests.support.rls_broken import no_first_wall
from tests.support.rls_schema import (
    ALICE,
    BOB,
    NOTES_EACH,
    VARIABLES,
    RLSDatabase,
    context_of,
)

OWNERS = "SELECT DISTINCT tenant_id::text FROM notes"
BODIES = "SELECT tenant_id::text FROM notes WHERE body <> $1"


@pytest.fixture
async def pool(rls_database: RLSDatabase) -> AsyncIterator[GuardedPool]:
    async with create_guarded_pool(
        rls_database.dsn, variables=VARIABLES, min_size=1, max_size=1
    ) as made:
        yield made


async def _fetch(connection: Any) -> set[str]:
    return {row[0] for row in await connection.fetch(OWNERS)}


async def _fetchrow(connection: Any) -> set[str]:
    return set(await connection.fetchrow(BODIES, "x"))


async def _fetchval(connection: Any) -> set[str]:
    return {await connection.fetchval(BODIES, "x")}


async def _fetchmany(connection: Any) -> set[str]:
    return {row[0] for row in await connection.fetchmany(BODIES, [("x",), ("y",)])}


async def _prepared(connection: Any) -> set[str]:
    statement = await connection.prepare(BODIES)
    await statement.executemany([("x",)])
    return {row[0] for row in await statement.fetch("x")} | {await statement.fetchval("x")}


async def _copy_out(connection: Any) -> set[str]:
    taken = io.BytesIO()
    await connection.copy_from_query(OWNERS, output=taken)
    return set(taken.getvalue().decode().split())


async def _execute(connection: Any) -> set[str]:
    assert await connection.execute("UPDATE notes SET body = 'x'; SELECT 1") == "SELECT 1"
    assert await connection.execute("SELECT * FROM notes") == f"SELECT {NOTES_EACH}"
    assert await connection.execute(BODIES, "y") == f"SELECT {NOTES_EACH}"
    return await _fetch(connection)


async def _executemany(connection: Any) -> set[str]:
    await connection.executemany("INSERT INTO notes (body) VALUES ($1)", [("a",), ("b",)])
    assert await connection.fetchval("SELECT count(*) FROM notes") == NOTES_EACH + 2
    return await _fetch(connection)


USES = [
    _fetch,
    _fetchrow,
    _fetchval,
    _fetchmany,
    _prepared,
    _copy_out,
    _execute,
    _executemany,
]
Use = Callable[[Any], Awaitable[set[str]]]


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
async def test_every_method_sees_one_tenant_in_a_block_and_outside(
    pool: GuardedPool, use: Use
) -> None:
    """A statement outside a block is a transaction as well, and must be bound as well."""
    for tenant in (ALICE, BOB):
        with use_context(context_of(tenant)):
            async with pool.acquire() as connection:
                transaction = connection.transaction()
                await transaction.start()
                assert await use(connection) == {tenant}
                await transaction.rollback()
                assert await use(connection) == {tenant}
                assert not connection.is_in_transaction()


async def test_copying_in_is_refused_by_the_database(pool: GuardedPool) -> None:
    """PostgreSQL has no COPY FROM under row-level security (manual, COPY): nothing is written."""
    with use_context(context_of(ALICE)):
        with pytest.raises(asyncpg.FeatureNotSupportedError):
            await pool.copy_records_to_table("notes", records=[("x",)], columns=["body"])
        assert await pool.fetchval("SELECT count(*) FROM notes") == NOTES_EACH


async def test_cursors_see_one_tenant(pool: GuardedPool) -> None:
    """They fetch in pieces, long after they were opened."""
    with use_context(context_of(ALICE)):
        async with pool.acquire() as connection, connection.transaction():
            seen = {row[0] async for row in connection.cursor(BODIES, "x", prefetch=1)}
            cursor = await connection.cursor(BODIES, "x")
            seen |= {row[0] for row in await cursor.fetch(1)}
            with use_context(context_of(BOB)), pytest.raises(RLSViolationError) as refused:
                await cursor.fetch(1)

    assert seen == {ALICE}
    assert refused.value.code == "TENANT_MISMATCH"


async def test_the_pools_own_methods_see_one_tenant(pool: GuardedPool) -> None:
    """pool.fetch() and its kin acquire by themselves."""
    for tenant in (ALICE, BOB):
        with use_context(context_of(tenant)):
            for use in (_fetch, _fetchrow, _fetchval, _fetchmany, _copy_out):
                assert await use(pool) == {tenant}


async def test_a_prepared_statement_is_bound_to_whoever_runs_it(pool: GuardedPool) -> None:
    """It is parsed once; the plan must not remember the tenant."""
    async with pool.acquire() as connection:
        with use_context(context_of(ALICE)):
            statement = await connection.prepare(OWNERS)
        for _ in range(8):  # beyond the fifth run PostgreSQL may keep one plan for all
            for tenant in (ALICE, BOB):
                with use_context(context_of(tenant)):
                    assert await statement.fetchval() == tenant


async def test_a_change_of_tenant_within_a_block_is_refused(pool: GuardedPool) -> None:
    """In it, in a savepoint of it, and at its end; nothing is committed."""
    async with pool.acquire() as connection:
        with use_context(context_of(ALICE)):
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute("INSERT INTO notes (body) VALUES ('half done')")
        with use_context(context_of(BOB)):
            for attempt in (
                lambda: connection.fetch("SELECT 1"),
                lambda: connection.execute("SELECT 1"),
                lambda: connection.execute("COMMIT"),
                connection.transaction().start,
                transaction.commit,
            ):
                with pytest.raises(RLSViolationError) as refused:
                    await attempt()
                assert refused.value.code == "TENANT_MISMATCH"
        assert not connection.is_in_transaction()
        with use_context(context_of(ALICE)):
            assert await connection.fetchval("SELECT count(*) FROM notes") == NOTES_EACH


async def test_a_block_left_under_another_tenant_is_rolled_back(pool: GuardedPool) -> None:
    """`async with` commits by itself, so it must ask for whom."""
    async with pool.acquire() as connection:
        block = connection.transaction()
        with use_context(context_of(ALICE)):
            await block.__aenter__()
            await connection.execute("INSERT INTO notes (body) VALUES ('half done')")
        with use_context(context_of(BOB)), pytest.raises(RLSViolationError):
            await block.__aexit__(None, None, None)
        with use_context(context_of(ALICE)):
            assert await connection.fetchval("SELECT count(*) FROM notes") == NOTES_EACH


async def test_a_transaction_begun_by_hand_is_bound(pool: GuardedPool) -> None:
    """BEGIN as text: the binding in front of it becomes part of the transaction."""
    with use_context(context_of(ALICE)):
        async with pool.acquire() as connection:
            await connection.execute("BEGIN")
            assert await _fetch(connection) == {ALICE}
            await connection.execute("ROLLBACK")
            assert await _fetch(connection) == {ALICE}
            await connection.execute("BEGIN; SELECT 1; COMMIT")
            assert await _fetch(connection) == {ALICE}


@pytest.mark.parametrize(
    "text",
    [
        "COMMIT; SELECT 1",
        "SELECT 1; rollback ; SELECT 2",
        "/* ; */ END; SELECT 1",
        "ABORT;SELECT 1",
        "COMMIT AND CHAIN",
        "PREPARE TRANSACTION 'x'; SELECT 1",
    ],
)
async def test_text_that_ends_the_transaction_and_goes_on_is_refused(
    pool: GuardedPool, text: str
) -> None:
    """What follows would run unbound."""
    with use_context(context_of(ALICE)):
        async with pool.acquire() as connection, connection.transaction():
            with pytest.raises(RLSViolationError) as refused:
                await connection.execute(text)
            assert await _fetch(connection) == {ALICE}

    assert refused.value.code == "RLS_NOT_ENFORCED"


@pytest.mark.parametrize(
    "text",
    [
        "SAVEPOINT a; ROLLBACK TO a; SELECT 1",
        "SELECT 'COMMIT; SELECT'; SELECT 1",
        "SELECT $$ commit; $$; SELECT 2",
        'SELECT 1 AS "end; x"; SELECT 2',
        "SELECT CASE WHEN true THEN 1 END; SELECT 2",
        "-- commit;\nSELECT 1; SELECT 2",
    ],
)
async def test_text_that_only_looks_so_is_sent(pool: GuardedPool, text: str) -> None:
    """A check that refuses honest statements is switched off."""
    with use_context(context_of(ALICE)):
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(text)
            assert await _fetch(connection) == {ALICE}


async def test_what_hides_its_commit_from_us_is_shown_nothing_by_the_database(
    pool: GuardedPool, rls_database: RLSDatabase
) -> None:
    """The second wall: after the transaction's end the setting is gone."""
    rls_database.database.execute(
        "CREATE TABLE public.seen (n bigint)", "GRANT ALL ON public.seen TO PUBLIC"
    )
    with use_context(context_of(ALICE)):
        async with pool.acquire() as connection:
            guard = connection._con._protocol
            async with connection.transaction():
                with guard.upkeep():  # as if the text had not been recognised
                    await connection.execute(
                        "COMMIT; INSERT INTO seen SELECT count(*) FROM notes; BEGIN"
                    )
    seen = await _one(rls_database, "SELECT n FROM seen")
    assert seen == 0


async def test_a_session_level_tenant_that_slips_through_serves_nobody_else(
    pool: GuardedPool, rls_database: RLSDatabase
) -> None:
    """A function in the database that sets it for the session: no text shows that."""
    rls_database.database.execute(
        "CREATE FUNCTION public.sneak(t text) RETURNS text LANGUAGE sql AS "
        "$$ SELECT set_config('app.' || 'current_tenant', t, false) $$"
    )
    for _ in range(2):
        with use_context(context_of(BOB)):
            await pool.fetch("SELECT public.sneak($1)", BOB)
        with use_context(context_of(ALICE)):
            assert await _fetch(pool) == {ALICE}
        with pytest.raises(RLSViolationError):
            await _fetch(pool)
    with no_first_wall():  # the pool has reset the session when it came back
        assert await _fetch(pool) == set()


async def test_a_recycled_and_an_expired_connection_are_bound_again(
    rls_database: RLSDatabase,
) -> None:
    """Reuse is where a setting of the last user would be."""
    async with create_guarded_pool(
        rls_database.dsn, variables=VARIABLES, min_size=1, max_size=1, max_queries=3
    ) as pool:
        for turn in range(12):
            with use_context(context_of((ALICE, BOB)[turn % 2])):
                assert await _fetch(pool) == {(ALICE, BOB)[turn % 2]}
            if turn == 6:
                await pool.expire_connections()
            with pytest.raises(RLSViolationError):
                await _fetch(pool)


async def test_errors_of_a_lone_statement_leave_a_usable_connection(pool: GuardedPool) -> None:
    """The transaction around it ends with it."""
    with use_context(context_of(ALICE)):
        async with pool.acquire() as connection:
            pid = connection.get_server_pid()
            with pytest.raises(asyncpg.DivisionByZeroError):
                await connection.fetch("SELECT 1 / $1::int", 0)
            with pytest.raises(asyncpg.DataError):
                await connection.fetch("SELECT $1::int", "no number")
            assert not connection.is_in_transaction()
            assert await _fetch(connection) == {ALICE}
            assert connection.get_server_pid() == pid


async def test_two_tasks_on_one_connection_do_not_share_a_lone_statements_transaction(
    pool: GuardedPool,
) -> None:
    """Asyncpg refuses concurrent use; the transaction around a statement must not hide it."""
    with use_context(context_of(ALICE)):
        async with pool.acquire() as connection:
            answers = await asyncio.gather(
                *(connection.fetch("SELECT pg_sleep(0.01)") for _ in range(3)),
                return_exceptions=True,
            )
    kinds = [type(answer) for answer in answers]
    assert kinds.count(list) == 1
    assert kinds.count(asyncpg.InterfaceError) == 2


async def test_init_and_setup_callbacks_of_the_users_own_run(rls_database: RLSDatabase) -> None:
    """Init belongs to nobody and sees nothing; setup runs for whoever acquires."""
    seen: list[set[str]] = []

    async def init(connection: Any) -> None:
        seen.append(await _fetch(connection))

    async def setup(connection: Any) -> None:
        seen.append(await _fetch(connection))

    async with create_guarded_pool(
        rls_database.dsn, variables=VARIABLES, min_size=0, max_size=1, init=init, setup=setup
    ) as pool:
        with use_context(context_of(ALICE)):
            async with pool.acquire() as connection:
                assert is_guarded(connection)
                assert variables_of(pool) == VARIABLES

    assert seen == [set(), {ALICE}]


async def test_a_connection_class_of_the_users_own_is_kept(rls_database: RLSDatabase) -> None:
    """Type codecs, tracing: what a team has put there still works, guarded."""

    class Own(asyncpg.Connection):  # type: ignore[misc] # asyncpg is untyped
        def shout(self) -> str:
            return "own"

    async with (
        create_guarded_pool(
            rls_database.dsn, variables=VARIABLES, min_size=0, max_size=1, connection_class=Own
        ) as pool,
        pool.acquire() as connection,
    ):
        assert connection.shout() == "own"
        with pytest.raises(RLSViolationError):
            await _fetch(connection)


@pytest.mark.parametrize("dsn", ["", "nonsense", "postgresql+asyncpg://u:hunter2@h/d", None, 5])
def test_a_wrong_dsn_is_a_config_error(dsn: Any) -> None:
    """Said at start-up, without the password."""
    with pytest.raises(ConfigError) as refused:
        create_guarded_pool(dsn)

    assert "hunter2" not in str(refused.value)


async def test_an_unreachable_database_is_unavailable(rls_database: RLSDatabase) -> None:
    """In a stable word, and without the DSN."""
    reasons = []
    for dsn in (
        rls_database.dsn.replace(f":{rls_database.database.port}/", ":1/"),
        rls_database.dsn.replace(rls_database.password, "hunter2"),
        rls_database.dsn + "_missing",
    ):
        with pytest.raises(UnavailableError) as refused:
            await create_guarded_pool(dsn, variables=VARIABLES, min_size=1)
        reasons.append(refused.value.reason)
        assert "hunter2" not in str(refused.value)

    assert reasons == ["database_unreachable", "database_login_refused", "database_missing"]


async def _one(database: RLSDatabase, query: str) -> Any:
    connection = await asyncpg.connect(database.database.dsn())
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()
