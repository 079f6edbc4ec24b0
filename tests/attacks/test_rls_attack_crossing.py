"""What outlives `system_session`: the right to cross tenants must end with the block."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from asgi_guard.errors import ConfigError, RLSViolationError
from asgi_guard.rls import (
    assert_rls_enforced,
    guarded_engine,
    rls_enforced_session,
    system_engine,
    system_session,
)
from asgi_guard.tenancy.current import current_context
from tests.support.rls_schema import ALICE, VARIABLES, RLSDatabase


async def test_a_task_that_outlives_the_block_crosses_no_more(rls_database: RLSDatabase) -> None:
    """A task keeps a copy of the context it was made in; after the closing event nobody knew."""
    engine = system_engine(rls_database.url(dsn=rls_database.system_dsn), variables=VARIABLES)
    ended = asyncio.Event()

    async def straggler() -> None:
        assert_rls_enforced(allow_system=True)
        await ended.wait()
        with pytest.raises(RLSViolationError):
            assert_rls_enforced(allow_system=True)
        async with engine.connect() as connection:
            await connection.execute(text("SELECT body FROM notes"))

    async with system_session(engine, reason="monthly invoices"):
        task = asyncio.create_task(straggler())
        await asyncio.sleep(0)
    ended.set()

    with pytest.raises(RLSViolationError) as refused:
        await task
    await engine.dispose()
    assert refused.value.code == "RLS_NOT_ENFORCED"


async def test_a_connection_that_outlives_the_block_sends_nothing(
    rls_database: RLSDatabase,
) -> None:
    """Its transaction was begun in time, so nothing else asks again."""
    engine = system_engine(rls_database.url(dsn=rls_database.system_dsn), variables=VARIABLES)
    async with system_session(engine, reason="monthly invoices"):
        kept = await engine.connect()
        await kept.execute(text("SELECT 1"))

    with pytest.raises(RLSViolationError) as refused:
        await kept.execute(text("SELECT body FROM notes"))
    await kept.close()
    await engine.dispose()
    assert refused.value.code == "RLS_NOT_ENFORCED"


async def test_a_block_is_entered_once(rls_database: RLSDatabase) -> None:
    """Entered again inside itself it would end once, and leave its tenant to the code behind it."""
    engine = guarded_engine(rls_database.url(), variables=VARIABLES)
    across = system_engine(rls_database.url(dsn=rls_database.system_dsn), variables=VARIABLES)
    for block in (
        rls_enforced_session(engine, ALICE, "reports"),
        system_session(across, reason="monthly invoices"),
    ):
        with pytest.raises(ConfigError):
            async with block, block:
                pass
        with pytest.raises(ConfigError):
            await block.__aenter__()
        assert current_context() is None
    await engine.dispose()
    await across.dispose()
