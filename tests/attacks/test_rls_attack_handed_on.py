"""Sessions and generators that one tenant's code leaves to another's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from asgi_guard.errors import RLSViolationError
from asgi_guard.rls import guarded_engine, require_rls, rls_enforced_session
from asgi_guard.tenancy import use_context
from tests.support.rls_schema import ALICE, BOB, VARIABLES, Note, RLSDatabase, context_of


@pytest.fixture
async def engine(rls_database: RLSDatabase) -> AsyncIterator[AsyncEngine]:
    made = guarded_engine(rls_database.url(), variables=VARIABLES)
    yield made
    await made.dispose()


async def test_what_one_tenant_added_is_not_stored_as_anothers(engine: AsyncEngine) -> None:
    """The database fills in the tenant: whoever flushes a plain session would get the row."""
    async with AsyncSession(engine) as session:
        with use_context(context_of(ALICE)):
            session.add(Note(body="of alice"))
        with use_context(context_of(BOB)), pytest.raises(RLSViolationError) as refused:
            await session.commit()
        assert refused.value.code == "TENANT_MISMATCH"

    async with AsyncSession(engine) as session:
        with use_context(context_of(ALICE)):
            session.add(Note(body="of alice"))
        with pytest.raises(RLSViolationError) as refused:
            async with rls_enforced_session(session, BOB, "reports"):
                pass
        assert refused.value.code == "TENANT_MISMATCH"


async def test_throwing_into_a_generator_gives_nobody_elses_value() -> None:
    """The error must arrive, so that the generator ends; what it answers is its owner's."""

    @require_rls
    async def values() -> AsyncIterator[str]:
        try:
            yield "first"
        except KeyError:
            yield "of alice"

    @require_rls
    def sync_values() -> Iterator[str]:
        try:
            yield "first"
        except KeyError:
            yield "of alice"

    with use_context(context_of(ALICE)):
        kept, sync_kept = values(), sync_values()
        assert (await anext(kept), next(sync_kept)) == ("first", "first")

    with use_context(context_of(BOB)):
        with pytest.raises(RLSViolationError):
            await kept.athrow(KeyError())  # type: ignore[attr-defined] # it is a generator
        with pytest.raises(RLSViolationError):
            sync_kept.throw(KeyError())  # type: ignore[attr-defined] # as above
