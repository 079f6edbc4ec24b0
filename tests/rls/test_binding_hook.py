"""The hook into the driver: tested on each connection, and not the only way to bind."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import AsyncSession

from asgi_guard.errors import RLSViolationError
from asgi_guard.rls import create_guarded_pool, guarded_engine
from asgi_guard.rls.binding.clause import quote_literal
from asgi_guard.tenancy import use_context
from tests.support.rls_schema import ALICE, BOB, VARIABLES, RLSDatabase, context_of
from tests.support.rls_wire import wire

OWNERS = "SELECT DISTINCT tenant_id::text FROM notes"


class SendsElsewhere(asyncpg.Connection):  # type: ignore[misc] # asyncpg is untyped
    """A driver that no longer sends BEGIN through its protocol's ``query``."""

    async def execute(self, query: str, *_args: Any, **_options: Any) -> str:
        status: str = await self._protocol._protocol.query(query, None)
        return status


async def test_where_begin_cannot_carry_it_a_second_statement_binds(
    rls_database: RLSDatabase,
) -> None:
    """A new driver version may cost a round trip, never the isolation."""
    async with (
        wire(rls_database.dsn) as proxy,
        create_guarded_pool(
            proxy.dsn,
            variables=VARIABLES,
            min_size=1,
            max_size=1,
            connection_class=SendsElsewhere,
        ) as pool,
    ):
        for tenant in (ALICE, BOB, ALICE):
            with use_context(context_of(tenant)):
                proxy.reset()
                async with pool.acquire() as connection, connection.transaction():
                    assert await connection.fetchval(OWNERS) == tenant
        assert proxy.round_trips == 5  # BEGIN, SET, the query, COMMIT, the pool's reset


async def test_a_driver_that_cannot_be_hooked_into_is_refused(rls_database: RLSDatabase) -> None:
    """Better no connection than one whose statements nobody looks at."""

    class Unhooked(asyncpg.Connection):  # type: ignore[misc] # as above
        async def fetchval(self, query: str, *_args: Any, **_options: Any) -> Any:
            """Answer as a server would on which the setting has no effect."""

    with pytest.raises(RLSViolationError) as refused:
        await create_guarded_pool(
            rls_database.dsn,
            variables=VARIABLES,
            min_size=1,
            max_size=1,
            connection_class=Unhooked,
        )

    assert refused.value.code == "RLS_NOT_ENFORCED"


@pytest.mark.parametrize(
    "options",
    [
        {"pool_pre_ping": True},
        {"poolclass": NullPool},
        {"pool_recycle": 0},
        {"pool_reset_on_return": None},
        {"pool_size": 1, "max_overflow": 0, "pool_use_lifo": True},
    ],
    ids=lambda options: next(iter(options)),
)
async def test_every_way_of_pooling_keeps_tenants_apart(
    rls_database: RLSDatabase, options: dict[str, Any]
) -> None:
    """Pings, recycling, no pool at all, and a pool that does not even roll back."""
    engine = guarded_engine(rls_database.url(), variables=VARIABLES, **options)
    for tenant in (ALICE, BOB, ALICE):
        with use_context(context_of(tenant)):
            async with engine.connect() as connection:
                owners = (await connection.execute(text(OWNERS))).scalars()
                assert set(owners) == {tenant}
        async with AsyncSession(engine) as session:
            with pytest.raises(RLSViolationError):
                await session.execute(text(OWNERS))
    await engine.dispose()


@pytest.mark.parametrize(
    ("given", "quoted"),
    [
        ("plain", "'plain'"),
        ("o'brien", "'o''brien'"),
        ("a\\b", " E'a\\\\b'"),
        ("\\'", " E'\\\\'''"),
        ("", "''"),
    ],
)
def test_literals_are_quoted_so_that_no_setting_changes_their_meaning(
    given: str, quoted: str
) -> None:
    """PostgreSQL manual, section 4.1.2: E'' reads the same in both modes."""
    assert quote_literal(given) == quoted


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800"])
def test_text_that_cannot_be_stored_is_not_quoted(text: str) -> None:
    """The zero character would end the message early."""
    with pytest.raises(ValueError, match=r"zero|surrogates"):
        quote_literal(text)


class Own(asyncpg.Connection):  # type: ignore[misc] # as above
    """A class of the user's own, so that asyncpg's own reset is used."""


@pytest.mark.parametrize("connection_class", [asyncpg.Connection, Own])
async def test_a_release_forgets_the_session_with_and_without_our_shorter_reset(
    rls_database: RLSDatabase, connection_class: type[asyncpg.Connection]
) -> None:
    """The shorter way may leave nothing that asyncpg's own would not."""
    async with create_guarded_pool(
        rls_database.dsn,
        variables=VARIABLES,
        min_size=1,
        max_size=1,
        connection_class=connection_class,
    ) as pool:
        with use_context(context_of(ALICE)):
            async with pool.acquire() as connection:
                await connection.execute("SET statement_timeout = 12345")
                await connection.execute("SELECT pg_advisory_lock(7)")
                await connection.execute("LISTEN alices")
        with use_context(context_of(BOB)):
            for timeout in (None, 5):
                async with pool.acquire(timeout=timeout) as connection:
                    assert await connection.fetchval("SHOW statement_timeout") == "0"
                    assert (
                        await connection.fetchval(
                            "SELECT count(*) FROM pg_locks WHERE classid = 0 AND objid = 7"
                        )
                        == 0
                    )
                    assert await connection.fetch("SELECT pg_listening_channels()") == []


async def test_a_way_to_send_that_the_guard_does_not_know_is_not_there(
    rls_database: RLSDatabase,
) -> None:
    """A method that a later asyncpg invents must fail rather than go round the guard."""
    async with (
        create_guarded_pool(rls_database.dsn, variables=VARIABLES, min_size=1, max_size=1) as pool,
        pool.acquire() as connection,
    ):
        guard = connection._protocol

        with pytest.raises(AttributeError):
            guard.data_received  # noqa: B018 - a name that the driver's protocol has
        assert guard.get_server_pid() > 0


async def test_a_text_that_is_awaited_later_is_judged_then(rls_database: RLSDatabase) -> None:
    """Rendered for one tenant and sent in another's transaction, it would bind that one anew."""
    async with (
        create_guarded_pool(rls_database.dsn, variables=VARIABLES, min_size=1, max_size=1) as pool,
        pool.acquire() as connection,
    ):
        with use_context(context_of(ALICE)):
            later = connection.execute("UPDATE notes SET body = 'alice was here'")
        with use_context(context_of(BOB)):
            transaction = connection.transaction()
            await transaction.start()
        with use_context(context_of(ALICE)), pytest.raises(RLSViolationError) as refused:
            await later
        assert refused.value.code == "TENANT_MISMATCH"
        with use_context(context_of(BOB)):
            assert await connection.fetchval(OWNERS) == BOB
            await transaction.rollback()
