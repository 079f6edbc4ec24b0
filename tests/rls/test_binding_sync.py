"""Sync engines: bound at the beginning of each transaction, refused without a tenant."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.orm import Session

from asgi_guard.errors import RLSViolationError
from asgi_guard.rls import GuardedSession, guarded_engine, guarded_sessionmaker, require_rls
from asgi_guard.tenancy import use_context
from tests.support.rls_broken import session_level_binding
from tests.support.rls_schema import (
    ALICE,
    BOB,
    NOTES_EACH,
    VARIABLES,
    Note,
    RLSDatabase,
    context_of,
)

COUNT = select(func.count()).select_from(Note)
OWNERS = "SELECT DISTINCT tenant_id::text FROM notes"


@pytest.fixture
def engine(rls_database: RLSDatabase) -> Iterator[Engine]:
    made = guarded_engine(
        rls_database.url("psycopg"), variables=VARIABLES, pool_size=1, max_overflow=0
    )
    yield made
    made.dispose()


def _owners(session: Session) -> set[str]:
    return set(session.execute(text(OWNERS)).scalars())


def test_it_is_bound_after_commit_rollback_and_savepoints(engine: Engine) -> None:
    """Each transaction anew; a rollback to a savepoint keeps it."""
    for tenant in (ALICE, BOB):
        with use_context(context_of(tenant)), Session(engine) as session:
            assert _owners(session) == {tenant}
            session.commit()
            assert _owners(session) == {tenant}
            session.rollback()
            with session.begin_nested() as savepoint:
                assert _owners(session) == {tenant}
                savepoint.rollback()
            assert _owners(session) == {tenant}


def test_without_a_tenant_nothing_is_sent(engine: Engine) -> None:
    """Not even a connection is handed out."""
    attempts = (
        lambda: Session(engine).execute(text(OWNERS)),
        lambda: Session(engine).get(Note, (ALICE, 1)),
        engine.connect,
        engine.raw_connection,
        lambda: engine.begin().__enter__(),
    )
    for attempt in attempts:
        with pytest.raises(RLSViolationError) as refused:
            attempt()
        assert refused.value.code == "RLS_NOT_ENFORCED"


def test_a_raw_connection_is_shown_no_row(engine: Engine) -> None:
    """It goes around the engine that binds; the database stands alone and holds."""
    with use_context(context_of(ALICE)):
        with Session(engine) as session:
            assert _owners(session) == {ALICE}
        raw = engine.raw_connection()
        cursor = raw.cursor()
        cursor.execute(OWNERS)
        assert cursor.fetchall() == []
        raw.close()


def test_a_raw_connection_of_a_broken_binding_shows_the_last_tenant(
    rls_database: RLSDatabase,
) -> None:
    """Negative control of the test above."""
    with session_level_binding():
        engine = guarded_engine(rls_database.url("psycopg"), variables=VARIABLES, pool_size=1)
        with use_context(context_of(BOB)), Session(engine) as session:
            _owners(session)
            session.commit()
        with use_context(context_of(ALICE)):
            raw = engine.raw_connection()
            cursor = raw.cursor()
            cursor.execute(OWNERS)
            assert cursor.fetchall() == [(BOB,)]
            raw.close()
    engine.dispose()


def test_a_change_of_tenant_is_refused_and_nothing_is_kept(engine: Engine) -> None:
    """In the middle and at the commit; the pooled connection goes back clean."""
    session = Session(engine)
    with use_context(context_of(ALICE)):
        session.add(Note(body="half done"))
        session.flush()
    with use_context(context_of(BOB)):
        for attempt in (lambda: _owners(session), session.commit):
            with pytest.raises(RLSViolationError) as refused:
                attempt()
            assert refused.value.code == "TENANT_MISMATCH"
        session.close()
        with Session(engine) as fresh:
            assert _owners(fresh) == {BOB}
            fresh.commit()
    with use_context(context_of(ALICE)), Session(engine) as check:
        assert check.scalar(COUNT) == NOTES_EACH


def test_a_guarded_session_hands_out_nothing_from_memory(engine: Engine) -> None:
    """Sync sessions have the same identity map."""
    session = guarded_sessionmaker(engine, expire_on_commit=False)()
    assert isinstance(session, GuardedSession)
    with use_context(context_of(ALICE)):
        note = session.scalars(select(Note)).first()
        assert note is not None
        session.commit()
    with use_context(context_of(BOB)), pytest.raises(RLSViolationError):
        session.get(Note, (note.tenant_id, note.id))
    session.close()


def test_require_rls_knows_whom_a_connection_is_bound_to(engine: Engine) -> None:
    """A connection in a transaction of another tenant is refused as an argument."""

    @require_rls
    def handler(connection: object) -> int:
        return 1

    with use_context(context_of(ALICE)):
        connection = engine.connect()
        connection.execute(text(OWNERS))
        assert handler(connection) == 1
    with use_context(context_of(BOB)), pytest.raises(RLSViolationError) as refused:
        handler(connection)
    connection.close()

    assert refused.value.code == "TENANT_MISMATCH"
