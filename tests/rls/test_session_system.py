"""`system_session`: crossing tenants is another role, with a reason, on record."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from asgi_guard.errors import ConfigError, RLSViolationError
from asgi_guard.rls import (
    assert_rls_enforced,
    guarded_engine,
    is_guarded,
    system_engine,
    system_session,
)
from asgi_guard.tenancy import use_context
from tests.support.rls_fixtures import EventList
from tests.support.rls_schema import (
    ALICE,
    NOTES_EACH,
    TENANTS,
    VARIABLES,
    Note,
    RLSDatabase,
    context_of,
)

COUNT = select(func.count()).select_from(Note)
EVERYTHING = NOTES_EACH * len(TENANTS)


@pytest.fixture
async def engine(rls_database: RLSDatabase) -> AsyncIterator[AsyncEngine]:
    made = system_engine(rls_database.url(dsn=rls_database.system_dsn), variables=VARIABLES)
    yield made
    await made.dispose()


@pytest.fixture
def sync_engine(rls_database: RLSDatabase) -> Iterator[Engine]:
    dsn = rls_database.system_dsn
    made = system_engine(rls_database.url("psycopg", dsn=dsn), variables=VARIABLES)
    yield made
    made.dispose()


async def test_it_crosses_tenants_and_is_on_record(
    engine: AsyncEngine, rls_events: EventList
) -> None:
    """Who did it, why, and on which ticket, before and after."""
    with use_context(context_of(ALICE, user_id="admin")):
        async with system_session(engine, reason="monthly invoices", ticket="OPS-1") as db:
            assert await db.scalar(COUNT) == EVERYTHING

    assert rls_events.names == ["SYSTEM_SESSION_OPENED", "SYSTEM_SESSION_CLOSED"]
    assert [event.outcome for event in rls_events] == ["allowed", "allowed"]
    for event in rls_events:
        assert event.user_id == "admin"
        assert dict(event.details) == {"reason": "monthly invoices", "ticket": "OPS-1"}


def test_it_works_without_async(sync_engine: Engine, rls_events: EventList) -> None:
    """Sync code is promised the same."""
    with system_session(sync_engine, reason="migration") as db:
        assert db.scalar(COUNT) == EVERYTHING

    assert rls_events.names == ["SYSTEM_SESSION_OPENED", "SYSTEM_SESSION_CLOSED"]


async def test_a_failure_inside_rolls_back_and_is_on_record(
    engine: AsyncEngine, rls_events: EventList
) -> None:
    """Half a correction across all tenants is worse than none."""
    with pytest.raises(ZeroDivisionError):
        await _delete_everything_and_fail(engine)

    async with system_session(engine, reason="check") as db:
        assert await db.scalar(COUNT) == EVERYTHING
    assert [event.outcome for event in rls_events] == ["allowed", "error", "allowed", "allowed"]


async def _delete_everything_and_fail(engine: AsyncEngine) -> None:
    async with system_session(engine, reason="correction") as db:
        await db.execute(text("DELETE FROM notes"))
        raise ZeroDivisionError


async def test_only_code_that_allows_it_takes_system_work_for_enforced(
    engine: AsyncEngine,
) -> None:
    """A handler that meant a tenant must not run for all of them."""
    async with system_session(engine, reason="check"):
        assert_rls_enforced(allow_system=True)
        with pytest.raises(RLSViolationError):
            assert_rls_enforced()
    with pytest.raises(RLSViolationError):
        assert_rls_enforced(allow_system=True)


async def test_the_engine_does_nothing_outside_a_system_session(
    engine: AsyncEngine, sync_engine: Engine
) -> None:
    """An engine that crosses tenants without a record would be the bypass."""
    with use_context(context_of(ALICE)):
        async with AsyncSession(engine) as session:
            with pytest.raises(RLSViolationError) as refused:
                await session.scalar(COUNT)
        with pytest.raises(RLSViolationError):
            sync_engine.connect()
        with pytest.raises(RLSViolationError):
            sync_engine.raw_connection()

    assert refused.value.code == "RLS_NOT_ENFORCED"
    assert not is_guarded(engine)


async def test_a_guarded_engine_keeps_to_its_tenant_inside(
    engine: AsyncEngine, rls_database: RLSDatabase
) -> None:
    """Crossing is the engine's doing, not a mode that spreads."""
    guarded = guarded_engine(rls_database.url(), variables=VARIABLES)
    async with system_session(engine, reason="check"):
        async with AsyncSession(guarded) as session:
            with pytest.raises(RLSViolationError):
                await session.scalar(COUNT)
        with use_context(context_of(ALICE)):
            async with AsyncSession(guarded) as session:
                assert await session.scalar(COUNT) == NOTES_EACH
    await guarded.dispose()


async def test_another_role_than_the_system_role_is_refused(
    rls_database: RLSDatabase, rls_events: EventList
) -> None:
    """The runtime role would silently see nothing; a superuser would see too much."""
    for dsn in (rls_database.dsn, rls_database.database.dsn()):
        wrong = system_engine(rls_database.url(dsn=dsn), variables=VARIABLES)
        with pytest.raises(RLSViolationError) as refused:
            async with system_session(wrong, reason="check"):
                pytest.fail("the block ran")
        assert refused.value.code == "RLS_VERIFICATION_FAILED"
        await wrong.dispose()

    assert rls_events.names == ["RLS_VERIFICATION_FAILED"] * 2


async def test_a_reason_and_a_system_engine_are_required(
    engine: AsyncEngine, rls_database: RLSDatabase
) -> None:
    """An auditor reads the reason; a blank one is none."""
    for reason in ("", "  \n"):
        with pytest.raises(ConfigError, match="Say why"):
            system_session(engine, reason=reason)
    with pytest.raises(ConfigError, match="system_engine"):
        system_session("postgresql://", reason="check")  # type: ignore[arg-type]
    guarded = guarded_engine(rls_database.url(), variables=VARIABLES)
    with pytest.raises(RLSViolationError):
        system_session(guarded, reason="check")
    await guarded.dispose()
