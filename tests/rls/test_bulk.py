"""Bulk load: fast under policies, one tenant's or nobody's, and nothing left on the connection."""

from __future__ import annotations

import io
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from asgi_guard import use_context
from asgi_guard.errors import ConfigError, ContextMissingError, RLSViolationError
from asgi_guard.rls import (
    GuardedAsyncSession,
    create_guarded_pool,
    guarded_engine,
    rls_enforced_session,
)
from asgi_guard.rls.binding.asyncpg_connection import guard_of
from asgi_guard.rls.binding.statement_text import StatementCheck
from asgi_guard.rls.bulk import bulk_load, bulk_load_csv
from tests.support.rls_schema import ALICE, BOB, NOTES_EACH, VARIABLES, RLSDatabase, context_of
from tests.support.rls_sealed import KEYS, SEALED, seal_database
from tests.support.rls_steps import run_cancelled_at

pytestmark = pytest.mark.postgres

MANY = [(f"bulk {number}",) for number in range(1000)]


@pytest.fixture
async def pool(rls_database: RLSDatabase) -> AsyncIterator[Any]:
    """One connection, so that each use meets what the one before left."""
    async with create_guarded_pool(
        rls_database.dsn, variables=VARIABLES, min_size=1, max_size=1
    ) as made:
        yield made


@pytest.fixture
async def engine(rls_database: RLSDatabase) -> AsyncIterator[AsyncEngine]:
    """A guarded engine of one connection."""
    made = guarded_engine(rls_database.url(), variables=VARIABLES, pool_size=1, max_overflow=0)
    yield made
    await made.dispose()


async def count(db: Any, tenant: str) -> int:
    """Count the notes that a tenant sees."""
    async with rls_enforced_session(db, tenant, "test.count") as found:
        if isinstance(found, GuardedAsyncSession):
            return int(await found.scalar(text("SELECT count(*) FROM notes")) or 0)
        return int(await found.fetchval("SELECT count(*) FROM notes"))


@pytest.mark.parametrize("kind", ["pool", "connection", "engine", "session", "sqlalchemy"])
async def test_records_become_the_bound_tenants(pool: Any, engine: AsyncEngine, kind: str) -> None:
    """Every kind of handle; the tenant is filled in."""
    with use_context(context_of(ALICE)):
        if kind == "pool":
            loaded = await bulk_load(pool, "notes", MANY, columns=["body"])
        elif kind == "connection":
            async with pool.acquire() as connection:
                loaded = await bulk_load(connection, "notes", MANY, columns=["body"])
        elif kind == "engine":
            loaded = await bulk_load(engine, "notes", MANY, columns=["body"])
        elif kind == "session":
            async with GuardedAsyncSession(engine) as session, session.begin():
                loaded = await bulk_load(session, "notes", MANY, columns=["body"])
        else:
            async with engine.begin() as connection:
                loaded = await bulk_load(connection, "notes", MANY, columns=["body"])

    assert loaded == len(MANY)
    assert await count(pool, ALICE) == NOTES_EACH + len(MANY)
    assert await count(pool, BOB) == NOTES_EACH


async def test_a_job_loads_inside_its_own_session(engine: AsyncEngine) -> None:
    """Its transaction is the job's: what comes after and fails takes the rows back."""

    async def job() -> None:
        async with rls_enforced_session(engine, ALICE, "notes.import") as tenant_db:
            assert await bulk_load(tenant_db, "notes", MANY, columns=["body"]) == len(MANY)
            assert await bulk_load(tenant_db, "notes", MANY, columns=["body"]) == len(MANY)
            raise LookupError

    with pytest.raises(LookupError):
        await job()

    assert await count(engine, ALICE) == NOTES_EACH


@pytest.mark.parametrize("foreign", [uuid.UUID(BOB), None], ids=["another", "none"])
async def test_one_foreign_record_refuses_all_of_them(
    pool: Any, rls_events: Any, foreign: uuid.UUID | None
) -> None:
    """A file with one row of another customer is a mistake as a whole."""
    records = [(uuid.UUID(ALICE), "mine"), (foreign, "not mine"), (uuid.UUID(ALICE), "mine")]

    with (
        use_context(context_of(ALICE)),
        pytest.raises(RLSViolationError, match="another tenant") as told,
    ):
        await bulk_load(pool, "notes", records, columns=["tenant_id", "body"])

    assert told.value.code == "TENANT_MISMATCH"
    assert "TENANT_MISMATCH" in rls_events.names
    assert BOB not in str(told.value)
    assert await count(pool, ALICE) == await count(pool, BOB) == NOTES_EACH


async def test_the_policy_refuses_foreign_records_by_itself(
    pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: without our own check the second wall stands."""

    async def unchecked(*_args: object) -> None:
        return None

    monkeypatch.setattr("asgi_guard.rls.bulk._Stage._refuse_foreign", unchecked)

    with use_context(context_of(ALICE)), pytest.raises(asyncpg.InsufficientPrivilegeError):
        await bulk_load(pool, "notes", [(uuid.UUID(BOB), "x")], columns=["tenant_id", "body"])


@pytest.mark.parametrize("source", ["path", "file", "pieces"])
async def test_a_csv_file_from_anywhere(pool: Any, tmp_path: Path, source: str) -> None:
    """Uploads arrive as files and as streams."""
    content = b"body\n" + b"".join(f'"line, {n}"\n'.encode() for n in range(100))
    (tmp_path / "notes.csv").write_bytes(content)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 7):
            yield content[start : start + 7]

    given = {
        "path": tmp_path / "notes.csv",
        "file": io.BytesIO(content),
        "pieces": pieces(),
    }[source]
    with use_context(context_of(ALICE)):
        assert await bulk_load_csv(pool, "notes", given, columns=["body"]) == 100


async def test_records_may_arrive_one_by_one(pool: Any) -> None:
    """A generator of rows is never held in memory."""

    async def arriving() -> AsyncIterator[tuple[str]]:
        for number in range(10):
            yield (f"row {number}",)

    assert await bulk_load(pool, "notes", arriving(), columns=["body"], tenant_id=ALICE) == 10


async def test_nothing_is_left_and_nothing_is_discarded(pool: Any) -> None:
    """A DISCARD ALL for each load would throw every prepared statement away."""
    with use_context(context_of(ALICE)):
        await bulk_load(pool, "notes", MANY, columns=["body"])
        async with pool.acquire() as connection:
            guard = guard_of(connection)
            assert guard is not None
            assert not guard.left_something
            temporary = await connection.fetchval(
                "SELECT count(*) FROM pg_class WHERE relpersistence = 't'"
            )
            prepared = await connection.fetchval("SELECT count(*) FROM pg_prepared_statements")

    assert temporary == 0
    assert prepared > 0


KEPT = (
    "CREATE TEMP TABLE mine AS SELECT * FROM notes",
    "CREATE TEMP TABLE mine ON COMMIT PRESERVE ROWS AS SELECT * FROM notes",
    "CREATE TEMP TABLE mine ON COMMIT DELETE ROWS AS SELECT 1",
    "CREATE TEMP TABLE mine AS SELECT 'on commit drop' AS a FROM notes",
    'CREATE TEMP TABLE mine AS SELECT 1 AS "x on commit drop as select"',
    "CREATE TEMP TABLE mine /* on commit drop as select */ AS SELECT * FROM notes",
    "CREATE TEMP TABLE mine -- on commit drop as select\n AS SELECT * FROM notes",
    "CREATE TEMP TABLE a ON COMMIT DROP AS SELECT 1; CREATE TEMP TABLE b AS SELECT 1",
    "CREATE TEMP TABLE a ON COMMIT DROP AS SELECT pg_advisory_lock(1)",
    "CREATE TEMP TABLE a ON COMMIT DROP AS SELECT set_config('x.y', '1', false)",
    "CREATE TEMP TABLE a ON COMMIT DROP AS SELECT * INTO TEMP b FROM notes",
    "SELECT * INTO TEMP mine FROM notes",
    "CREATE TEMP VIEW mine AS SELECT 1",
    "CREATE TEMP SEQUENCE mine",
    "CREATE TABLE pg_temp.mine (a int)",
    "DISCARD TEMP",
)


@pytest.mark.parametrize("statement", KEPT)
def test_what_stays_on_the_session_is_not_taken_for_what_goes(statement: str) -> None:
    """The next tenant on the connection would read it."""
    assert StatementCheck(VARIABLES).judge(statement).leaves


def test_what_is_dropped_at_commit_leaves_nothing() -> None:
    """Control of the above."""
    for spelling in ("TEMP", "TEMPORARY", "temp"):
        text_ = f"CREATE {spelling} TABLE asgi_guard_bulk_1 ON COMMIT DROP AS SELECT a FROM b"
        assert not StatementCheck(VARIABLES, shared_session=True).judge(text_).leaves


async def test_the_app_cannot_copy_past_the_policies_itself(pool: Any) -> None:
    """Why this helper exists (PostgreSQL docs, COPY)."""
    with use_context(context_of(ALICE)), pytest.raises(asyncpg.FeatureNotSupportedError):
        async with pool.acquire() as connection:
            await connection.copy_records_to_table("notes", records=MANY, columns=["body"])


async def test_a_refused_value_inserts_nothing_and_the_connection_serves_on(pool: Any) -> None:
    """A NULL in the last of a thousand rows."""
    with use_context(context_of(ALICE)), pytest.raises(asyncpg.NotNullViolationError):
        await bulk_load(pool, "notes", [*MANY, (None,)], columns=["body"])

    assert await count(pool, ALICE) == NOTES_EACH


async def test_cancelled_at_any_moment_it_is_all_or_nothing(pool: Any) -> None:
    """A customer closes the page in the middle of the upload; the connection serves the next."""
    step, loaded = 1, 0
    while await _cancelled(step, pool):
        now = await count(pool, ALICE) - NOTES_EACH
        assert now in {loaded, loaded + 5}
        loaded = now
        step += 1

    assert step > 5
    assert await count(pool, BOB) == NOTES_EACH


async def _cancelled(step: int, pool: Any) -> bool:
    with use_context(context_of(ALICE)):
        return await run_cancelled_at(step, bulk_load(pool, "notes", MANY[:5], columns=["body"]))


async def test_columns_of_another_type_under_the_same_name(
    pool: Any, rls_database: RLSDatabase
) -> None:
    """The driver keeps what it learned of a name: eight bytes of a number are a timestamp, too."""
    for table, kind in (("one", "bigint"), ("two", "timestamptz")):
        rls_database.database.execute(
            f"CREATE TABLE {table} (tenant_id uuid, body {kind})",
            f"GRANT SELECT, INSERT ON {table} TO {VARIABLES.runtime_role}",
        )
    with use_context(context_of(ALICE)):
        await bulk_load(pool, "one", [(7,)], columns=["body"])
        with pytest.raises(TypeError, match="datetime"):
            await bulk_load(pool, "two", [(7,)], columns=["body"])


async def test_a_role_that_may_not_make_temporary_tables_is_told_so(
    pool: Any, rls_database: RLSDatabase
) -> None:
    """Some administrators take TEMP from everybody."""
    rls_database.database.execute(
        f"REVOKE TEMPORARY ON DATABASE {rls_database.database.name} FROM PUBLIC"
    )

    with use_context(context_of(ALICE)), pytest.raises(ConfigError, match="GRANT TEMPORARY"):
        await bulk_load(pool, "notes", MANY, columns=["body"])


async def test_nobody_loads_nothing(pool: Any) -> None:
    """Without a tenant there is nobody whose rows they could be."""
    with pytest.raises(ContextMissingError):
        await bulk_load(pool, "notes", MANY, columns=["body"])
    with use_context(context_of(BOB)), pytest.raises(RLSViolationError):
        await bulk_load(pool, "notes", MANY, columns=["body"], tenant_id=ALICE)


@pytest.mark.parametrize("columns", [[], "body", ["body", "body"], [1]], ids=repr)
async def test_columns_that_are_none_are_refused(pool: Any, columns: Any) -> None:
    """A string is a sequence of columns named b, o, d, y."""
    with use_context(context_of(ALICE)), pytest.raises(ConfigError, match="columns"):
        await bulk_load(pool, "notes", MANY, columns=columns)


async def test_a_column_is_a_name_and_no_sql(pool: Any) -> None:
    """Headers of uploads are chosen by strangers."""
    hostile = "body) SELECT body FROM notes; --"
    with use_context(context_of(ALICE)), pytest.raises(asyncpg.UndefinedColumnError):
        await bulk_load(pool, "notes", MANY, columns=[hostile])


async def test_another_driver_is_refused(rls_database: RLSDatabase) -> None:
    """Psycopg's COPY is another one; silently slow inserts would be no bulk load."""
    engine = guarded_engine(rls_database.url("psycopg_async"), variables=VARIABLES)
    with use_context(context_of(ALICE)), pytest.raises(ConfigError, match="asyncpg"):
        await bulk_load(engine, "notes", MANY, columns=["body"])
    await engine.dispose()


async def test_sealed_tenants_load_as_well(rls_database: RLSDatabase) -> None:
    """The token binds the transaction that the temporary table lives in."""
    sealed = seal_database(rls_database)
    async with create_guarded_pool(
        sealed.dsn, variables=SEALED, seal_keys=KEYS, min_size=1, max_size=1
    ) as pool:
        with use_context(context_of(ALICE)):
            assert await bulk_load(pool, "notes", MANY, columns=["body"]) == len(MANY)


@pytest.mark.pgbouncer
async def test_behind_a_transaction_pooler(rls_database: RLSDatabase, pgbouncer: Any) -> None:
    """Another client gets the same server connection next."""
    bouncer = pgbouncer(rls_database.database, users=rls_database.users, pool_size=1)
    dsn = bouncer.dsn(VARIABLES.runtime_role, rls_database.password)
    async with create_guarded_pool(
        dsn, variables=VARIABLES, transaction_pooler=True, min_size=1, max_size=1
    ) as pool:
        with use_context(context_of(ALICE)):
            for _ in range(2):
                assert await bulk_load(pool, "notes", MANY, columns=["body"]) == len(MANY)
        assert await count(pool, BOB) == NOTES_EACH
