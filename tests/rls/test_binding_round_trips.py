"""The binding costs no round trip: counted on the wire, against the same work by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from asgi_guard.errors import RLSViolationError
from asgi_guard.rls import create_guarded_pool, guarded_engine
from asgi_guard.tenancy import use_context
from tests.support.rls_schema import ALICE, NOTES_EACH, VARIABLES, Note, RLSDatabase, context_of
from tests.support.rls_wire import wire

QUERY = "SELECT count(*) FROM notes WHERE tenant_id = $1::text::uuid"
MINE = select(func.count()).select_from(Note)


async def test_a_guarded_transaction_through_sqlalchemy_costs_no_round_trip_more(
    rls_database: RLSDatabase,
) -> None:
    """A second statement after BEGIN would make every transaction 1.3 times as long."""
    counted = []
    async with wire(rls_database.dsn) as proxy:
        for engine in (
            create_async_engine(rls_database.url(dsn=proxy.dsn)),
            guarded_engine(rls_database.url(dsn=proxy.dsn), variables=VARIABLES),
        ):
            with use_context(context_of(ALICE)):
                for _ in range(2):  # the first one connects and prepares
                    proxy.reset()
                    async with AsyncSession(engine) as session:
                        seen = await session.scalar(MINE)
                        await session.commit()
            counted.append((seen, proxy.round_trips))
            await engine.dispose()

    assert counted == [(0, 3), (NOTES_EACH, 3)]


async def test_a_guarded_transaction_on_raw_asyncpg_costs_no_round_trip_more(
    rls_database: RLSDatabase,
) -> None:
    """BEGIN, the query, COMMIT; the pool's own reset comes on top in both."""
    counted = []
    async with wire(rls_database.dsn) as proxy:
        for pool in (
            asyncpg.create_pool(proxy.dsn, min_size=1, max_size=1),
            create_guarded_pool(proxy.dsn, variables=VARIABLES, min_size=1, max_size=1),
        ):
            async with pool:
                with use_context(context_of(ALICE)):
                    for _ in range(2):
                        proxy.reset()
                        async with pool.acquire() as connection, connection.transaction():
                            seen = await connection.fetchval(QUERY, ALICE)
                counted.append((seen, proxy.round_trips))

    assert counted == [(0, 4), (NOTES_EACH, 4)]


async def test_plain_text_outside_a_transaction_is_bound_in_its_own_message(
    rls_database: RLSDatabase,
) -> None:
    """Several statements in one message are one transaction, so the binding fits in front."""
    async with (
        wire(rls_database.dsn) as proxy,
        create_guarded_pool(proxy.dsn, variables=VARIABLES, min_size=1, max_size=1) as pool,
        pool.acquire() as connection,
    ):
        proxy.reset()
        with use_context(context_of(ALICE)):
            status = await connection.execute("SELECT * FROM notes")

        assert (status, proxy.round_trips) == (f"SELECT {NOTES_EACH}", 1)


async def test_without_a_tenant_not_a_byte_is_sent(rls_database: RLSDatabase) -> None:
    """The first wall stands before the wire, whatever method is used."""
    async with (
        wire(rls_database.dsn) as proxy,
        create_guarded_pool(proxy.dsn, variables=VARIABLES, min_size=1, max_size=1) as pool,
        pool.acquire() as connection,
    ):
        with use_context(context_of(ALICE)):
            prepared = await connection.prepare("SELECT body FROM notes")
        attempts = {
            "fetch": lambda: connection.fetch("SELECT 1"),
            "fetchval": lambda: connection.fetchval("SELECT 1"),
            "fetchrow": lambda: connection.fetchrow("SELECT $1::int", 1),
            "fetchmany": lambda: connection.fetchmany("SELECT $1::int", [(1,)]),
            "execute": lambda: connection.execute("SELECT 1"),
            "execute with arguments": lambda: connection.execute("SELECT $1::int", 1),
            "executemany": lambda: connection.executemany("SELECT $1::int", [(1,)]),
            "prepare": lambda: connection.prepare("SELECT 1"),
            "prepared fetch": prepared.fetch,
            "prepared executemany": lambda: prepared.executemany([()]),
            "copy out": lambda: connection.copy_from_table("notes", output=_nowhere),
            "copy query": lambda: connection.copy_from_query("SELECT 1", output=_nowhere),
            "copy in": lambda: connection.copy_records_to_table("notes", records=[("x",)]),
            "begin": connection.transaction().start,
            "manual begin": lambda: connection.execute("BEGIN"),
            "listen": lambda: connection.add_listener("c", print),
        }
        proxy.reset()
        for name, attempt in attempts.items():
            with pytest.raises(RLSViolationError) as refused:
                await attempt()
            assert (name, refused.value.code) == (name, "RLS_NOT_ENFORCED")

        assert proxy.sent.total() == 0


async def test_without_a_tenant_sqlalchemy_sends_not_a_byte(rls_database: RLSDatabase) -> None:
    """The same through the ORM, where a session is made long before it is used."""
    async with wire(rls_database.dsn) as proxy:
        engine = guarded_engine(rls_database.url(dsn=proxy.dsn), variables=VARIABLES)
        with use_context(context_of(ALICE)):
            async with engine.connect():  # connect beforehand: logging in is no statement
                pass
        proxy.reset()
        attempts: dict[str, Callable[[AsyncSession], Awaitable[object]]] = {
            "execute": lambda session: session.execute(MINE),
            "scalars": lambda session: session.scalars(MINE),
            "stream": lambda session: session.stream(MINE),
            "get": lambda session: session.get(Note, (ALICE, 1)),
            "connection": lambda session: session.connection(),
            "flush": _flush,
            "core": lambda _: _execute(engine),
        }
        for name, attempt in attempts.items():
            async with AsyncSession(engine) as session:
                # Twice, as a handler does that swallows the error and tries again.
                for _ in range(1 if name in {"connection", "flush"} else 2):
                    with pytest.raises(RLSViolationError) as refused:
                        await attempt(session)
                    assert (name, refused.value.code) == (name, "RLS_NOT_ENFORCED")

        assert proxy.sent.total() == 0
        await engine.dispose()


async def _flush(session: AsyncSession) -> None:
    session.add(Note(body="x"))
    await session.flush()


async def _execute(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(MINE)


async def _nowhere(_data: bytes) -> None:
    """Take what COPY writes."""
