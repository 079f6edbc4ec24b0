"""What tenant isolation costs: one indexed select per transaction, against a hand-written WHERE.

Every contender reads the same rows through the same kind of pool and checks that the row came
back. Peers run the way their own documentation uses them. ``python benchmarks/rls_binding.py 40``
takes 40 rounds of each table.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import Contender, Work, interleave, print_table, save
from rls_world import (
    SEAL_KEYS,
    SEALED,
    World,
    by_role,
    guarded,
    keyed,
    plain,
    sealed,
    world,
)

from asgi_guard import UserExecutionContext, use_context
from asgi_guard.rls import create_guarded_pool, guarded_engine, require_rls

POOL = 5
_SHARE = 0.01
Read = Callable[[str, UUID], Awaitable[object]]
Targets = Iterator[tuple[str, UUID]]


@cache
def context_of(tenant: str) -> UserExecutionContext:
    """Return the context of a request, made before its transactions as the middleware does.

    What making one costs is part of the table of `require_rls`.
    """
    return UserExecutionContext(tenant_id=tenant, user_id="bench", operation="notes.read")


def repeated(read: Read, targets: Targets) -> Work:
    """Read one target after another."""

    async def work(times: int) -> None:
        for tenant, note in itertools.islice(targets, times):
            if await read(tenant, note) is None:
                raise RuntimeError("a contender did not find its own row")

    return work


def crowded(read: Read, targets: Targets) -> Work:
    """Let 20 tasks share the pool of 5."""
    one = repeated(read, targets)

    async def work(times: int) -> None:
        await asyncio.gather(*(one(times // 20) for _ in range(20)))

    return work


# --- SQLAlchemy ------------------------------------------------------------------------------


def where_by_hand(engine: AsyncEngine) -> Read:
    """No policies; the tenant is a parameter of every statement."""

    async def read(tenant: str, note: UUID) -> object:
        async with AsyncSession(engine) as session, session.begin():
            statement = select(plain.c.body).where(
                plain.c.tenant_id == UUID(tenant), plain.c.id == note
            )
            return await session.scalar(statement)

    return read


def through_guarded_engine(engine: AsyncEngine, table: Table = guarded) -> Read:
    """Ours: a context, as the middleware makes it, and a session on a guarded engine."""

    async def read(tenant: str, note: UUID) -> object:
        with use_context(context_of(tenant)):
            async with AsyncSession(engine) as session, session.begin():
                return await session.scalar(select(table.c.body).where(table.c.id == note))

    return read


def through_fastapi_rls(engine: AsyncEngine) -> Read:
    """fastapi-rls: what its async session dependency does around a handler."""
    from fastapi_rls.adapters.sqlalchemy import AsyncSessionExecutor  # noqa: PLC0415 - a peer
    from fastapi_rls.context import aapply_rls_context  # noqa: PLC0415 - a peer

    async def read(tenant: str, note: UUID) -> object:
        async with AsyncSession(engine) as session, session.begin():
            who = {"tenant_id": tenant}
            await aapply_rls_context(
                AsyncSessionExecutor(session), who, is_local=True, system=True, source="dependency"
            )
            return await session.scalar(select(keyed.c.body).where(keyed.c.id == note))

    return read


def through_fastapi_tenancy(engine: AsyncEngine, url: str) -> Read:
    """fastapi-tenancy: a session of its RLS provider, on our policies (same setting name)."""
    from fastapi_tenancy.core.config import TenancyConfig  # noqa: PLC0415 - a peer
    from fastapi_tenancy.core.types import Tenant  # noqa: PLC0415 - a peer
    from fastapi_tenancy.isolation.rls import RLSIsolationProvider  # noqa: PLC0415 - a peer

    config = TenancyConfig(database_url=url, resolution_strategy="header", isolation_strategy="rls")
    provider = RLSIsolationProvider(config, engine=engine)
    tenants: dict[str, Any] = {}

    async def read(tenant: str, note: UUID) -> object:
        if tenant not in tenants:
            tenants[tenant] = Tenant(id=tenant, identifier=f"tenant-{tenant[:8]}", name="bench")
        async with provider.get_session(tenants[tenant]) as session:
            return await session.scalar(select(guarded.c.body).where(guarded.c.id == note))

    return read


def through_tenant_roles(manager: Any) -> Read:
    """sqlalchemy-tenants and litestar-tenants: one role per tenant, SET SESSION ROLE."""

    async def read(tenant: str, note: UUID) -> object:
        async with manager.new_tenant_session(tenant, create_if_missing=False) as session:
            return await session.scalar(select(by_role.c.body).where(by_role.c.id == note))

    return read


# --- raw asyncpg -----------------------------------------------------------------------------


def raw_where_by_hand(pool: Any) -> Read:
    """No policies; the tenant is a parameter."""
    sql = "SELECT body FROM plain_notes WHERE tenant_id = $1 AND id = $2"

    async def read(tenant: str, note: UUID) -> object:
        async with pool.acquire() as connection, connection.transaction():
            return await connection.fetchval(sql, tenant, note)

    return read


def raw_guarded(pool: Any, table: str = "notes") -> Read:
    """Ours: a guarded pool."""
    sql = f"SELECT body FROM {table} WHERE id = $1"

    async def read(tenant: str, note: UUID) -> object:
        with use_context(context_of(tenant)):
            async with pool.acquire() as connection, connection.transaction():
                return await connection.fetchval(sql, note)

    return read


# --- the decorator ---------------------------------------------------------------------------


async def handler(session: AsyncSession, text: str) -> str:
    """Stand for a handler; the session is what `require_rls` looks at."""
    del session
    return text


def bare_calls(engine: AsyncEngine) -> Work:
    """Call the handler over and over, without a database."""
    session = AsyncSession(engine)

    async def work(times: int) -> None:
        for _ in range(times):
            await handler(session, "x")

    return work


def guarded_calls(engine: AsyncEngine) -> Work:
    """Make a context, enter it and call the decorated handler, over and over."""
    session, decorated = AsyncSession(engine), require_rls(handler)
    make = context_of.__wrapped__

    async def work(times: int) -> None:
        for _ in range(times):
            with use_context(make("00000000-0000-4000-8000-000000000001")):
                await decorated(session, "x")

    return work


def installed(name: str) -> bool:
    """Tell whether a peer can be measured here."""
    return importlib.util.find_spec(name) is not None


def peers(engine: AsyncEngine, url: str) -> Iterator[tuple[str, Read]]:
    """Give the peers that are installed."""
    if installed("fastapi_rls"):
        yield "fastapi-rls", through_fastapi_rls(engine)
    if installed("fastapi_tenancy"):
        yield "fastapi-tenancy", through_fastapi_tenancy(engine, url)
    sessions = async_sessionmaker(engine)
    if installed("sqlalchemy_tenants"):
        from sqlalchemy_tenants.aio import PostgresManager  # noqa: PLC0415 - a peer

        yield (
            "sqlalchemy-tenants",
            through_tenant_roles(PostgresManager("public", engine, sessions)),
        )
    if installed("litestar_tenants"):
        from litestar_tenants.rls import PostgresManager as Litestar  # noqa: PLC0415 - a peer

        yield "litestar-tenants", through_tenant_roles(Litestar("public", engine, sessions))


async def measure(here: World, *, rounds: int) -> dict[str, Any]:
    """Run every table."""
    targets = itertools.cycle(here.targets)
    plain_engine = create_async_engine(here.url, pool_size=POOL, max_overflow=0)
    peer_engine = create_async_engine(here.url, pool_size=POOL, max_overflow=0)
    ours = guarded_engine(here.url, pool_size=POOL, max_overflow=0)
    ours_sealed = guarded_engine(
        here.url, pool_size=POOL, max_overflow=0, variables=SEALED, seal_keys=SEAL_KEYS
    )
    async with AsyncExitStack() as stack:
        for engine in (plain_engine, peer_engine, ours, ours_sealed):
            stack.push_async_callback(engine.dispose)
        bare = await stack.enter_async_context(
            asyncpg.create_pool(here.dsn, min_size=POOL, max_size=POOL)
        )
        pool = await stack.enter_async_context(
            create_guarded_pool(here.dsn, min_size=POOL, max_size=POOL)
        )
        sealed_pool = await stack.enter_async_context(
            create_guarded_pool(
                here.dsn, min_size=POOL, max_size=POOL, variables=SEALED, seal_keys=SEAL_KEYS
            )
        )
        raw_seal = raw_guarded(sealed_pool, "sealed_notes")
        by_seal = through_guarded_engine(ours_sealed, sealed)
        by_hand, by_guard = where_by_hand(plain_engine), through_guarded_engine(ours)
        tables = {
            "SQLAlchemy + asyncpg, one at a time": await interleave(
                [
                    Contender("WHERE by hand, no policies", repeated(by_hand, targets)),
                    Contender("guarded_engine", repeated(by_guard, targets), limit=1.10),
                    Contender("guarded_engine, sealed", repeated(by_seal, targets), limit=1.45),
                    *(
                        Contender(name, repeated(read, targets))
                        for name, read in peers(peer_engine, here.url)
                    ),
                ],
                rounds=rounds * 8,
                repeat=12,
            ),
            "SQLAlchemy + asyncpg, 20 tasks on a pool of 5": await interleave(
                [
                    Contender("WHERE by hand, no policies", crowded(by_hand, targets)),
                    Contender("guarded_engine", crowded(by_guard, targets), limit=1.10),
                    Contender("guarded_engine, sealed", crowded(by_seal, targets), limit=1.45),
                ],
                rounds=rounds * 4,
                repeat=100,
            ),
            "asyncpg alone, one at a time": await interleave(
                [
                    Contender("WHERE by hand", repeated(raw_where_by_hand(bare), targets)),
                    Contender("guarded pool", repeated(raw_guarded(pool), targets), limit=1.15),
                    Contender("guarded pool, sealed", repeated(raw_seal, targets), limit=1.45),
                ],
                rounds=rounds * 16,
                repeat=12,
            ),
            "asyncpg alone, 20 tasks on a pool of 5": await interleave(
                [
                    Contender("WHERE by hand", crowded(raw_where_by_hand(bare), targets)),
                    Contender("guarded pool", crowded(raw_guarded(pool), targets), limit=1.15),
                    Contender("guarded pool, sealed", crowded(raw_seal, targets), limit=1.45),
                ],
                rounds=rounds * 6,
                repeat=100,
            ),
        }
        tables["require_rls"] = await decorator_share(
            ours, transaction_us=tables["SQLAlchemy + asyncpg, one at a time"][1]["median_us"]
        )
    return tables


async def decorator_share(engine: AsyncEngine, *, transaction_us: float) -> list[dict[str, Any]]:
    """Return what the decorator adds, as a share of the transaction that it protects."""
    rows = await interleave(
        [
            Contender("bare function", bare_calls(engine)),
            Contender("with @require_rls and its context", guarded_calls(engine)),
        ],
        rounds=15,
        repeat=5_000,
    )
    added = rows[1]["median_us"] - rows[0]["median_us"]
    share = round(added / transaction_us, 4)
    rows[1] |= {"share_of_transaction": share, "limit": _SHARE, "holds": share <= _SHARE}
    print(f"\n@require_rls and its context add {added:.2f} us: {share:.2%} of a transaction")
    return rows


async def main() -> int:
    """Measure, print, save; 1 if a promised ratio does not hold."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    async with world() as here:
        tables = await measure(here, rounds=rounds)
    for title, rows in tables.items():
        print_table(title, rows)
    save("rls_binding", tables)
    return 0 if all(row["holds"] is not False for rows in tables.values() for row in rows) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
