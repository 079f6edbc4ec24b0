"""What one tenant leaves on a pooled connection's session is gone for the next.

Settings, prepared statements, locks and temporary tables outlive their transaction. Handed on,
they let one tenant choose what another's statements mean: an unqualified table name, a statement
that a driver has prepared under a known name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from asgi_guard.errors import RLSViolationError
from asgi_guard.rls import create_guarded_pool, guarded_engine
from asgi_guard.rls.binding.sql_text import statements_of
from asgi_guard.rls.binding.statement_text import StatementCheck
from asgi_guard.tenancy import use_context
from tests.support.pgbouncer import PgBouncer
from tests.support.rls_schema import ALICE, BOB, VARIABLES, RLSDatabase, context_of

# What Alice sends, and a question whose answer tells Bob whether something is left.
LEFT: dict[str, tuple[str, str]] = {
    "setting": ("SET search_path = pg_temp", "SELECT current_setting('search_path') = 'pg_temp'"),
    "setting by function": (
        "SELECT set_config('search_path', 'pg_temp', false)",
        "SELECT current_setting('search_path') = 'pg_temp'",
    ),
    "setting of its own": (
        "SELECT set_config('mine.stash', 'secret', false)",
        "SELECT coalesce(current_setting('mine.stash', true), '') <> ''",
    ),
    "prepared statement": (
        "PREPARE mine AS SELECT 1",
        "SELECT EXISTS (SELECT FROM pg_prepared_statements WHERE name = 'mine')",
    ),
    "prepared behind a block": (
        "DO $$ BEGIN EXECUTE 'PRE' || 'PARE mine AS SELECT 1'; END $$",
        "SELECT EXISTS (SELECT FROM pg_prepared_statements WHERE name = 'mine')",
    ),
    "setting behind a block": (
        "/* x */ do $a$ BEGIN PERFORM set_config('search_path', 'pg_temp', false); END $a$",
        "SELECT current_setting('search_path') = 'pg_temp'",
    ),
    "table behind a block": (
        "DO $$ BEGIN EXECUTE 'CREATE TE' || 'MP TABLE notes AS SELECT 1 AS id'; END $$",
        "SELECT to_regclass('pg_temp.notes') IS NOT NULL",
    ),
    "lock": (
        "SELECT pg_advisory_lock(7)",
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory')",
    ),
    "lock tried for": (
        "SELECT pg_try_advisory_lock_shared(7)",
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory')",
    ),
    "channel": ("LISTEN mine", "SELECT EXISTS (SELECT FROM pg_listening_channels())"),
    "role": (
        "SET ROLE NONE; SET application_name = 'mine'",
        "SELECT current_setting('application_name') = 'mine'",
    ),
}
CASES = pytest.mark.parametrize(("leave", "left"), LEFT.values(), ids=LEFT)
_AT_COMMIT = ("LISTEN mine",)
_CACHED = "SELECT count(*) FROM notes WHERE id > $1"


@CASES
async def test_a_raw_pool_hands_on_a_clean_session(
    rls_database: RLSDatabase, leave: str, left: str
) -> None:
    """The next tenant's statements also still work: what asyncpg had prepared is forgotten too."""
    async with create_guarded_pool(
        rls_database.dsn, variables=VARIABLES, min_size=1, max_size=1
    ) as pool:
        with use_context(context_of(ALICE)):
            assert await pool.fetchval(_CACHED, 0) == 3
            async with pool.acquire() as connection:
                await connection.execute(leave)
                assert await connection.fetchval(left)  # the control: it was there
        with use_context(context_of(BOB)):
            assert not await pool.fetchval(left)
            assert await pool.fetchval(_CACHED, 0) == 3


@CASES
async def test_an_engine_hands_on_a_clean_session(
    rls_database: RLSDatabase, leave: str, left: str
) -> None:
    """SQLAlchemy's pool resets nothing but the transaction."""
    engine = guarded_engine(rls_database.url(), variables=VARIABLES, pool_size=1, max_overflow=0)
    try:
        with use_context(context_of(ALICE)):
            async with engine.begin() as connection:
                for statement in statements_of_raw(leave):
                    await connection.exec_driver_sql(statement)
                if leave not in _AT_COMMIT:
                    assert await connection.scalar(text(left))
        with use_context(context_of(BOB)):
            async with engine.begin() as connection:
                assert not await connection.scalar(text(left))
    finally:
        await engine.dispose()


@CASES
def test_a_sync_engine_hands_on_a_clean_session(
    rls_database: RLSDatabase, leave: str, left: str
) -> None:
    """The same through another driver."""
    engine = guarded_engine(
        rls_database.url("psycopg"), variables=VARIABLES, pool_size=1, max_overflow=0
    )
    try:
        with use_context(context_of(ALICE)), engine.begin() as connection:
            for statement in statements_of_raw(leave):
                connection.exec_driver_sql(statement)
            if leave not in _AT_COMMIT:
                assert connection.scalar(text(left))
        with use_context(context_of(BOB)), engine.begin() as connection:
            assert not connection.scalar(text(left))
    finally:
        engine.dispose()


@pytest.mark.pgbouncer
@CASES
async def test_behind_a_pooler_it_is_refused_before_it_is_sent(
    rls_database: RLSDatabase, pgbouncer: Callable[..., PgBouncer], leave: str, left: str
) -> None:
    """The session is other clients' there, from the moment the transaction ends."""
    pooler = pgbouncer(rls_database.database, users=rls_database.users, pool_size=1)
    dsn = pooler.dsn(VARIABLES.runtime_role, rls_database.password)
    async with create_guarded_pool(
        dsn, variables=VARIABLES, transaction_pooler=True, min_size=0, max_size=1
    ) as pool:
        with use_context(context_of(ALICE)), pytest.raises(RLSViolationError) as refused:
            await pool.execute(leave)
        with use_context(context_of(BOB)):
            assert not await pool.fetchval(left)
    assert refused.value.code == "RLS_NOT_ENFORCED"


async def test_nothing_is_asked_of_the_server_where_nothing_was_left(
    rls_database: RLSDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clean-up must cost those who left something, and nobody else."""
    from asgi_guard.rls.binding.asyncpg_connection import GuardedConnection  # noqa: PLC0415

    cleaned: list[str] = []
    whole = GuardedConnection._forget_session

    async def counting(self: Any, guard: Any) -> None:
        cleaned.append("once")
        await whole(self, guard)

    monkeypatch.setattr(GuardedConnection, "_forget_session", counting)
    async with create_guarded_pool(
        rls_database.dsn, variables=VARIABLES, min_size=1, max_size=1
    ) as pool:
        with use_context(context_of(ALICE)):
            await pool.execute("UPDATE notes SET body = 'do' WHERE body = 'set'")
            await pool.execute("INSERT INTO notes (body) VALUES ('x') ON CONFLICT DO NOTHING")
            await pool.execute("SET LOCAL work_mem = '1MB'; SELECT set_config('a.b', 'c', true)")
            assert cleaned == []
            await pool.execute("SET work_mem = '1MB'")
            await pool.execute("SELECT 1")
            assert cleaned == ["once"]


@pytest.mark.parametrize(
    "hidden",
    [
        "SELECT 1; -- x\rDO $$ $$",
        "-- x\r\nDO $$ $$",
        "SELECT 1 AS foo$x$; DO 'y'; SELECT 1 AS bar$x$",
        "SELECT $é$'$é$; DO 'y'; SELECT $é$'$é$",
        "SELECT $→$'$→$; DO 'y'; SELECT $→$'$→$",
        "/* a /* b */ */ DO 'y'",
        "SELECT 'a''b' ; DO 'y' --'",
        "SELECT E'a\\'b' ; DO 'y' --'",
        "SELECT \"a'b\" ; DO 'y' --'",
        ";;; DO 'y'",
        "SELECT 1;DO\n'y'",
        "SELECT 1;\u00a0DO 'y'; DO 'z'",
    ],
    ids=range(12),
)
def test_quoting_hides_no_statement(hidden: str) -> None:
    """What we take for quoted and PostgreSQL runs would leave something unseen."""
    assert StatementCheck(VARIABLES).judge(hidden).leaves


@pytest.mark.parametrize(
    "harmless",
    [
        "SELECT 'x; DO y'",
        "SELECT $$; DO y$$",
        "SELECT $tag$; SET x = 1$tag$",
        'SELECT "set; do" FROM notes',
        "SELECT 1 -- ; DO x",
        "SELECT 1 /* ; SET x = 1 */",
        "UPDATE notes SET body = 'a'",
        "INSERT INTO notes (body) VALUES ('a') ON CONFLICT DO UPDATE SET body = 'b'",
        "SET LOCAL statement_timeout = 5",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET CONSTRAINTS ALL DEFERRED",
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT set_config('a.b', 'c', true)",
        "SELECT prepared, do_it, unset FROM loads",
    ],
    ids=range(14),
)
def test_everyday_statements_leave_nothing(harmless: str) -> None:
    """A false alarm costs the next request a connection."""
    assert not StatementCheck(VARIABLES).judge(harmless).leaves


@pytest.mark.parametrize("opening", ["/*", "'", '"', "$a$", "E'", "--\n'", "$é$", "/* */ '"])
def test_text_that_is_never_closed_is_read_once(opening: str) -> None:
    """A megabyte of openings must not cost a megabyte squared; this ends, or the test hangs."""
    assert statements_of("SELECT 1;" + opening * 200_000)


def statements_of_raw(script: str) -> list[str]:
    """Give the statements of a case that has several; drivers that prepare take one at a time."""
    return script.split("; ") if script.startswith("SET ROLE") else [script]
