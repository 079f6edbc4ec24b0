"""The page of the sealed binding runs, and its engine reads one tenant's rows."""

from __future__ import annotations

import uuid

from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from asgi_guard import UserExecutionContext, use_context
from asgi_guard.rls import password_statement
from asgi_guard.secret import Secret
from asgi_guard.testing import PostgresDatabase
from tests.support.pages import Page, tutorial_models


async def test_the_page_seals_a_database_and_reads_it(postgres_database: PostgresDatabase) -> None:
    """Somebody who copies it in order must end with a working app."""
    names = Page("sealed.md", postgres_database, **tutorial_models()).run(1, 2)
    admin = create_async_engine(
        make_url(postgres_database.dsn()).set(drivername="postgresql+asyncpg")
    )
    async with admin.begin() as connection:
        await connection.run_sync(names["Base"].metadata.create_all)
        await connection.run_sync(names["seal"])
        statement = password_statement("app_runtime", Secret("secret"))
        await connection.exec_driver_sql(statement)
    await admin.dispose()

    page = Page("sealed.md", postgres_database)
    page.names = names
    engine = page.run(3)["engine"]

    tenant = str(uuid.uuid4())
    with use_context(UserExecutionContext(tenant_id=tenant, user_id="alice")):
        async with engine.connect() as connection:
            bound = await connection.scalar(text("SELECT asgi_guard.current_tenant()::text"))
    await engine.dispose()
    assert bound == tenant
