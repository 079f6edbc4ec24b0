"""The stores page runs, and its SQL makes a table that the app's own role cannot reach."""

from __future__ import annotations

import asyncpg
import pytest
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.schema import CreateTable

from asgi_guard.protocols import KeyValueStore
from asgi_guard.rls import audit_catalog, guarded_engine
from asgi_guard.testing import PostgresDatabase
from tests.support.pages import Page, as_role, prepare, tutorial_models
from tests.support.redis_server import RedisServer


async def holds(store: KeyValueStore) -> None:
    assert await store.put_if_absent("k", b"v", ttl=60)
    assert not await store.put_if_absent("k", b"w", ttl=60)
    assert await store.take("k") == b"v"


@pytest.mark.redis
async def test_the_page_of_stores_runs(redis_server: RedisServer) -> None:
    """Memory and Redis, as written."""
    names = Page("stores.md").run()
    await holds(names["in_one_process"]())
    store = await names["in_redis"](redis_server.url)
    await holds(store)
    await store.close()


@pytest.mark.postgres
async def test_the_sql_of_the_page_keeps_the_apps_role_out(
    postgres_database: PostgresDatabase,
) -> None:
    """And the audit of the tenants' tables has nothing to say about it."""
    page = Page("stores.md")
    names = page.run()
    script = page.text.partition("```sql\n")[2].partition("```")[0]
    models = tutorial_models()
    postgres_database.execute("DROP ROLE IF EXISTS guard_state", "SET scram_iterations = 1", script)
    await prepare(postgres_database, models)
    url = make_url(postgres_database.dsn(user="guard_state", password="secret"))
    engine = create_async_engine(url.set(drivername="postgresql+asyncpg"))
    store = await names["in_the_database"](engine)
    await holds(store)
    await store.finish()
    await engine.dispose()

    runtime = as_role(postgres_database, "app_runtime")
    connection = await asyncpg.connect(runtime.replace("+asyncpg", "", 1))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.fetch("SELECT * FROM guard_state.guard_state")
    await connection.close()
    guarded = guarded_engine(runtime)
    audited = await audit_catalog(guarded, tables=models["Base"].metadata)
    await guarded.dispose()
    postgres_database.execute("DROP OWNED BY guard_state", "DROP ROLE guard_state")

    assert audited == []
    written = str(CreateTable(names["state"])).split()
    assert " ".join(script.partition("CREATE TABLE")[2].split()[:2]) == " ".join(written[2:4])
