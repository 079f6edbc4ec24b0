"""What a transaction can leave on its connection, and what can undo the binding half way."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.exc import DBAPIError

from asgi_guard.errors import RLSViolationError
from asgi_guard.rls import create_guarded_pool, guarded_engine, guarded_sessionmaker
from asgi_guard.tenancy import use_context
from tests.support.rls_schema import ALICE, BOB, VARIABLES, Note, RLSDatabase, context_of

KEPT = (
    ("CREATE TEMPORARY TABLE mine AS SELECT body FROM notes", "SELECT body FROM mine"),
    ("SELECT body INTO TEMP mine FROM notes", "SELECT body FROM mine"),
    ("CREATE TABLE pg_temp.mine AS SELECT body FROM notes", "SELECT body FROM mine"),
    ("DECLARE mine CURSOR WITH HOLD FOR SELECT body FROM notes", "FETCH ALL FROM mine"),
)
UNDOING = ("COMMIT", "ROLLBACK", "END", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "RESET ALL")
BOUND = "SELECT NULLIF(current_setting('app.current_tenant', true), '')"


@pytest.fixture
def sync_engine(rls_database: RLSDatabase) -> Iterator[Engine]:
    url = rls_database.url("psycopg")
    made = guarded_engine(url, variables=VARIABLES, pool_size=1, max_overflow=0)
    yield made
    made.dispose()


@pytest.mark.parametrize(("keep", "read"), KEPT)
async def test_rows_kept_on_a_connection_do_not_reach_the_next_tenant(
    rls_database: RLSDatabase, sync_engine: Engine, keep: str, read: str
) -> None:
    """Policies end where rows are copied; a pooled connection would hand the copy on."""
    engine = guarded_engine(rls_database.url(), variables=VARIABLES, pool_size=1, max_overflow=0)
    for tenant, statement in ((ALICE, keep), (BOB, read)):
        try:
            with use_context(context_of(tenant)):
                async with engine.begin() as connection:
                    await connection.execute(text(statement))
        except DBAPIError:
            assert tenant == BOB
        else:
            assert tenant == ALICE
        try:
            with use_context(context_of(tenant)), sync_engine.begin() as sync_connection:
                sync_connection.execute(text(statement))
        except DBAPIError:
            assert tenant == BOB
        else:
            assert tenant == ALICE
    await engine.dispose()


async def test_a_raw_pool_drops_temporary_tables(rls_database: RLSDatabase) -> None:
    """What asyncpg itself resets does not include them."""
    async with create_guarded_pool(
        rls_database.dsn, variables=VARIABLES, min_size=0, max_size=1
    ) as pool:
        with use_context(context_of(ALICE)):
            await pool.execute("CREATE TEMP TABLE mine AS SELECT body FROM notes")
        with use_context(context_of(BOB)):
            assert await pool.fetchval("SELECT to_regclass('pg_temp.mine')") is None


@pytest.mark.parametrize("undoing", UNDOING)
async def test_no_statement_text_unbinds_what_follows(
    rls_database: RLSDatabase, sync_engine: Engine, undoing: str
) -> None:
    """What comes after it would run for nobody, or for whom the session was left to."""

    def attempt(connection: Connection) -> object:
        connection.execute(text(undoing))
        return connection.scalar(text(BOUND))

    engine = guarded_engine(rls_database.url(), variables=VARIABLES)
    with use_context(context_of(ALICE)):
        async with engine.connect() as connection:
            with contextlib.suppress(RLSViolationError):
                assert await connection.run_sync(attempt) == ALICE
        with sync_engine.connect() as sync_connection, pytest.raises(RLSViolationError):
            attempt(sync_connection)
    await engine.dispose()


async def test_a_two_phase_transaction_is_bound_or_refused(
    rls_database: RLSDatabase, sync_engine: Engine
) -> None:
    """It has an event of its own, and a pooled connection remembers who had it before."""

    def attempt(connection: Connection) -> object:
        with connection.begin():
            assert connection.scalar(text(BOUND)) == ALICE
        with connection.begin_twophase() as both:
            bound = connection.scalar(text(BOUND))
            both.rollback()
        return bound

    engine = guarded_engine(rls_database.url(), variables=VARIABLES)
    with use_context(context_of(ALICE)):
        async with engine.connect() as connection:
            assert await connection.run_sync(attempt) == ALICE
        with sync_engine.connect() as sync_connection, pytest.raises(RLSViolationError) as refused:
            attempt(sync_connection)
    await engine.dispose()
    assert refused.value.code == "RLS_NOT_ENFORCED"


async def test_copy_is_no_way_around_the_check_of_texts(rls_database: RLSDatabase) -> None:
    """It is the one statement that asyncpg sends neither as a query nor prepared."""
    asked = "SELECT set_config('app.current_tenant', $1, true)"
    async with create_guarded_pool(rls_database.dsn, variables=VARIABLES, min_size=0) as pool:
        with use_context(context_of(ALICE)), pytest.raises(RLSViolationError) as refused:
            await pool.copy_from_query(asked, BOB, output=io.BytesIO())
    assert refused.value.code == "RLS_NOT_ENFORCED"


def test_another_tenant_marks_nothing_for_deletion(sync_engine: Engine) -> None:
    """The session's own tenant would commit it, in good faith."""
    with guarded_sessionmaker(sync_engine)() as session:
        with use_context(context_of(ALICE)):
            note = session.scalars(select(Note)).first()
        with use_context(context_of(BOB)), pytest.raises(RLSViolationError) as refused:
            session.delete_all([note])
        assert refused.value.code == "TENANT_MISMATCH"
        assert note not in session.deleted
