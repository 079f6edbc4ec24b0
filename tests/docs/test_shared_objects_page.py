"""The page of what tenants share runs, and its table of leaks is what a server does."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest

from asgi_guard import UserExecutionContext, use_context
from asgi_guard.rls import GuardedAsyncSession, SealKey, SealKeys, TenantListener, guarded_engine
from asgi_guard.testing import PostgresDatabase
from tests.support.pages import Page, as_role, prepare, tutorial_models

TENANT, OTHER = str(uuid.uuid4()), str(uuid.uuid4())


async def upload() -> AsyncIterator[bytes]:
    yield b"piece "
    yield b"by piece"


@pytest.mark.postgres
async def test_the_page_runs(postgres_database: PostgresDatabase) -> None:
    """Channels, large objects and numbers, as somebody would copy them."""
    page = Page("shared-objects.md", postgres_database, uuid=uuid, **tutorial_models())
    names = page.run()
    numbered = names["tenant_policies"](names["Base"].metadata, accept=names["large"].accepted)
    await prepare(postgres_database, {**names, "policies": numbered}, *names["large"].statements())
    engine = guarded_engine(as_role(postgres_database, "app_runtime"))
    keys = SealKeys([SealKey.generate()])
    dsn = postgres_database.dsn("app_runtime", "secret")

    async with (
        asyncio.timeout(30),
        TenantListener(dsn, keys) as listener,
        GuardedAsyncSession(engine) as session,
        GuardedAsyncSession(engine) as reader,
    ):
        with use_context(UserExecutionContext(tenant_id=TENANT, user_id="alice")):
            await names["add"](session, "before", keys)
            await session.commit()
            heard = names["changes"](listener, reader)
            assert await anext(heard) == "before"
            await names["add"](session, "after", keys)
            await session.commit()
            assert await anext(heard) == "after"
            await heard.aclose()

            number = await names["store"](session, upload())
            assert [await names["next_invoice"](session) for _ in range(2)] == [1, 2]
            await session.commit()
            assert await names["load"](session, number) == b"piece by piece"
            await session.rollback()
    async with GuardedAsyncSession(engine) as session:
        with use_context(UserExecutionContext(tenant_id=OTHER, user_id="bob")):
            assert await names["next_invoice"](session) == 1
            with pytest.raises(LookupError):
                await names["load"](session, number)
            await session.rollback()
    await engine.dispose()


@pytest.mark.postgres
async def test_what_the_page_says_is_shared_is(postgres_database: PostgresDatabase) -> None:
    """A list of dangers that are none hides those that are."""
    models = tutorial_models()
    row = f"INSERT INTO notes VALUES ('{OTHER}', gen_random_uuid(), 'theirs')"
    await prepare(postgres_database, models, row, "ANALYZE notes")
    runtime = await asyncpg.connect(postgres_database.dsn("app_runtime", "secret"))
    other = await asyncpg.connect(postgres_database.dsn("app_runtime", "secret"))
    await other.fetch("SELECT 'a literal', pg_advisory_lock(4711)")

    told = {
        "text": "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%a lit' || 'eral%'",
        "locks": "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711",
        "sizes": "SELECT pg_relation_size('notes')",
        "names": "SELECT count(*) FROM pg_constraint WHERE conrelid = 'notes'::regclass",
        "progress": "SELECT pg_current_xact_id()::text::numeric",
    }
    assert {name for name, ask in told.items() if await runtime.fetchval(ask) > 0} == set(told)
    hidden = (
        "SELECT count(*) FROM pg_stats WHERE tablename = 'notes'",
        "SELECT count(*) FROM notes",
    )
    assert [await runtime.fetchval(ask) for ask in hidden] == [0, 0]
    await other.close()
    await runtime.close()
