"""`rls_enforced_session`: jobs and agents work for one tenant, proven by the database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session, sessionmaker

from asgi_guard.errors import ConfigError, RLSViolationError, TenantInvalidError
from asgi_guard.rls import (
    RLSVariables,
    assert_rls_enforced,
    create_guarded_pool,
    guarded_engine,
    rls_enforced_session,
)
from asgi_guard.tenancy import current_context, use_context
from tests.support.rls_fixtures import EventList
from tests.support.rls_schema import (
    ALICE,
    BOB,
    NOTES_EACH,
    TENANTS,
    VARIABLES,
    Note,
    RLSDatabase,
    context_of,
)

COUNT = select(func.count()).select_from(Note)


@pytest.fixture
async def engine(rls_database: RLSDatabase) -> AsyncIterator[AsyncEngine]:
    made = guarded_engine(rls_database.url(), variables=VARIABLES)
    yield made
    await made.dispose()


@pytest.fixture
def sync_engine(rls_database: RLSDatabase) -> Iterator[Engine]:
    made = guarded_engine(rls_database.url("psycopg"), variables=VARIABLES)
    yield made
    made.dispose()


async def test_a_job_outside_any_request_sees_its_tenant_only(engine: AsyncEngine) -> None:
    """Nightly jobs are where the filter is forgotten."""
    async with rls_enforced_session(engine, ALICE, "reports.nightly") as db:
        notes = (await db.scalars(select(Note))).all()
        inside = current_context()

    assert {str(note.tenant_id) for note in notes} == {ALICE}
    assert len(notes) == NOTES_EACH
    assert inside is not None
    assert (inside.tenant_id, inside.user_id, inside.operation) == (ALICE, "job", "reports.nightly")
    assert current_context() is None


async def test_inside_a_request_the_user_stays_who_it_was(engine: AsyncEngine) -> None:
    """An agent acts for the user who asked, not for a nameless job."""
    with use_context(context_of(ALICE, user_id="ann", request_id="r-1")):
        async with rls_enforced_session(engine, ALICE, "agent.run"):
            inside = current_context()

    assert inside is not None
    assert (inside.user_id, inside.request_id, inside.operation) == ("ann", "r-1", "agent.run")


async def test_another_tenant_than_the_requests_is_refused(
    engine: AsyncEngine, rls_events: EventList
) -> None:
    """A tenant id out of a message body must not outrank the proven one."""
    with use_context(context_of(ALICE)), pytest.raises(RLSViolationError) as refused:
        async with rls_enforced_session(engine, BOB, "agent.run"):
            pytest.fail("the block ran")

    assert refused.value.code == "TENANT_MISMATCH"
    assert refused.value.operation == "agent.run"
    assert rls_events.names == ["TENANT_MISMATCH"]


async def test_another_tenant_is_refused_inside_the_block(engine: AsyncEngine) -> None:
    """A helper that enters its own tenant must not get the outer one's session, nor mix in."""
    async with rls_enforced_session(engine, ALICE, "outer") as db:
        with pytest.raises(RLSViolationError) as nested:
            async with rls_enforced_session(engine, BOB, "inner"):
                pytest.fail("the block ran")
        with use_context(context_of(BOB)), pytest.raises(RLSViolationError) as mixed:
            await db.scalar(COUNT)
        assert await db.scalar(COUNT) == NOTES_EACH

    assert (nested.value.code, nested.value.operation) == ("TENANT_MISMATCH", "inner")
    assert mixed.value.code == "TENANT_MISMATCH"


@pytest.mark.parametrize("kind", ["engine", "maker", "session", "connection", "pool", "driver"])
async def test_every_async_handle_is_bound_committed_and_rolled_back(
    rls_database: RLSDatabase, engine: AsyncEngine, kind: str
) -> None:
    """Whatever a job is given, it must mean the same."""
    insert = "INSERT INTO notes (body) VALUES ('made')"
    async with create_guarded_pool(
        rls_database.dsn, variables=VARIABLES, min_size=0, max_size=1
    ) as pool:
        handles = {
            "engine": lambda: engine,
            "maker": lambda: async_sessionmaker(engine),
            "session": lambda: AsyncSession(engine),
            "connection": engine.connect,
            "pool": lambda: pool,
            "driver": pool.acquire,
        }
        made = handles[kind]()
        entered = kind in {"session", "connection", "driver"}
        db = await made.__aenter__() if entered else made
        try:
            async with rls_enforced_session(db, ALICE, "job") as used:
                await used.execute(insert if kind in {"pool", "driver"} else text(insert))
            with pytest.raises(ZeroDivisionError):
                await _insert_and_fail(db, insert if kind in {"pool", "driver"} else text(insert))
        finally:
            if entered:
                await made.__aexit__(None, None, None)

    async with rls_enforced_session(engine, ALICE, "check") as db:
        assert await db.scalar(COUNT) == NOTES_EACH + 1


@pytest.mark.parametrize("kind", ["engine", "maker", "session", "connection"])
def test_every_sync_handle_is_bound_committed_and_rolled_back(
    sync_engine: Engine, kind: str
) -> None:
    """Sync code is promised the same."""
    insert = text("INSERT INTO notes (body) VALUES ('made')")
    handles = {
        "engine": lambda: sync_engine,
        "maker": lambda: sessionmaker(sync_engine),
        "session": lambda: Session(sync_engine),
        "connection": lambda: None,
    }
    if kind == "connection":
        with use_context(context_of(ALICE)):
            db = sync_engine.connect()
    else:
        db = handles[kind]()

    with rls_enforced_session(db, ALICE, "job") as used:
        used.execute(insert)
    with pytest.raises(ZeroDivisionError):
        _insert_and_fail_sync(db)
    if kind in {"session", "connection"}:
        db.close()

    with rls_enforced_session(sync_engine, ALICE, "check") as session:
        assert session.scalar(COUNT) == NOTES_EACH + 1


async def _insert_and_fail(db: Any, insert: Any) -> None:
    async with rls_enforced_session(db, ALICE, "job") as used:
        await used.execute(insert)
        raise ZeroDivisionError


def _insert_and_fail_sync(db: Any) -> None:
    with rls_enforced_session(db, ALICE, "job") as used:
        used.execute(text("INSERT INTO notes (body) VALUES ('made')"))
        raise ZeroDivisionError


async def test_a_session_with_pending_work_is_left_to_its_owner(engine: AsyncEngine) -> None:
    """A helper must neither save nor throw away what its caller has not decided yet."""
    with use_context(context_of(ALICE)):
        async with AsyncSession(engine, autoflush=False) as session:
            session.add(Note(body="pending"))
            async with rls_enforced_session(session, ALICE, "helper") as db:
                assert await db.scalar(COUNT) == NOTES_EACH
            assert session.in_transaction()
            with pytest.raises(ZeroDivisionError):
                async with rls_enforced_session(session, ALICE, "helper"):
                    raise ZeroDivisionError
            assert len(session.new) == 1
            await session.commit()
        async with AsyncSession(engine) as session:
            assert await session.scalar(COUNT) == NOTES_EACH + 1


async def test_an_unguarded_handle_is_refused(
    rls_database: RLSDatabase, rls_events: EventList
) -> None:
    """An engine made with create_async_engine looks the same and protects nothing."""
    plain = create_async_engine(rls_database.url())

    with pytest.raises(RLSViolationError) as refused:
        async with rls_enforced_session(plain, ALICE, "job"):
            pytest.fail("the block ran")

    assert refused.value.code == "RLS_NOT_ENFORCED"
    assert rls_events.names == ["RLS_NOT_ENFORCED"]
    await plain.dispose()


async def test_a_database_that_sees_another_tenant_fails_the_verification(
    rls_database: RLSDatabase, engine: AsyncEngine, rls_events: EventList
) -> None:
    """The policies' own function is asked, so a rewritten one is noticed before any row is."""
    rls_database.database.execute(
        "CREATE OR REPLACE FUNCTION asgi_guard.current_tenant() RETURNS uuid LANGUAGE sql "
        f"STABLE RETURN '{BOB}'::uuid"
    )

    with pytest.raises(RLSViolationError) as refused:
        async with rls_enforced_session(engine, ALICE, "job"):
            pytest.fail("the block ran")

    assert refused.value.code == "RLS_VERIFICATION_FAILED"
    assert rls_events.names == ["RLS_VERIFICATION_FAILED"]


async def test_a_role_that_bypasses_policies_fails_the_verification(
    rls_database: RLSDatabase,
) -> None:
    """The right tenant is bound, and means nothing to a superuser."""
    engine = guarded_engine(rls_database.url(dsn=rls_database.database.dsn()), variables=VARIABLES)

    with pytest.raises(RLSViolationError) as refused:
        async with rls_enforced_session(engine, ALICE, "job"):
            pytest.fail("the block ran")

    assert refused.value.code == "RLS_VERIFICATION_FAILED"
    await engine.dispose()


async def test_a_database_without_policies_fails_the_verification(
    rls_database: RLSDatabase,
) -> None:
    """Names that do not match the database's must not pass for enforcement."""
    other = RLSVariables(setting="other.tenant", user_setting="other.user", schema="elsewhere")
    engine = guarded_engine(rls_database.url(), variables=other)
    async with create_guarded_pool(
        rls_database.dsn, variables=other, min_size=0, max_size=1
    ) as pool:
        for db in (engine, pool):
            with pytest.raises(RLSViolationError) as refused:
                async with rls_enforced_session(db, ALICE, "job"):
                    pytest.fail("the block ran")

            assert refused.value.code == "RLS_VERIFICATION_FAILED"
    await engine.dispose()


async def test_bad_arguments_say_what_to_pass(engine: AsyncEngine, sync_engine: Engine) -> None:
    """Each mistake has its own sentence."""
    with pytest.raises(ConfigError, match="Name the operation"):
        rls_enforced_session(engine, ALICE, "")
    with pytest.raises(ConfigError, match="no database handle"):
        async with rls_enforced_session("postgresql://", ALICE, "job"):
            pytest.fail("the block ran")
    with pytest.raises(ConfigError, match="Use 'with'"):
        async with rls_enforced_session(sync_engine, ALICE, "job"):
            pytest.fail("the block ran")
    with (
        pytest.raises(ConfigError, match="Use 'async with'"),
        rls_enforced_session(engine, ALICE, "job"),
    ):
        pytest.fail("the block ran")
    with pytest.raises(TenantInvalidError):
        async with rls_enforced_session(engine, "x' OR true --", "job"):
            pytest.fail("the block ran")


async def test_commits_inside_the_block_are_bound_again(engine: AsyncEngine) -> None:
    """A job that commits in batches is many transactions."""
    async with rls_enforced_session(engine, TENANTS[7], "batch") as db:
        for _ in range(3):
            await db.execute(text("INSERT INTO notes (body) VALUES ('batch')"))
            await db.commit()
        assert_rls_enforced()
        assert await db.scalar(COUNT) == NOTES_EACH + 3
