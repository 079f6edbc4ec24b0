"""SQLStore: the `KeyValueStore` of an app with many processes and a database.

Each operation is one statement in autocommit: atomic, one round trip, no transaction that a
cancelled caller could leave open. What is kept belongs to no tenant (a session is looked up
before any tenant is known), so the table lies beside the guarded ones, under a role of its own.
``docs/stores.md`` has that role's SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    Column,
    Double,
    Index,
    Insert,
    LargeBinary,
    MetaData,
    String,
    Table,
    Update,
    delete,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.memory_store import check_entry, check_key
from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.integrations.sql_store_calls import StoreCalls
from asgi_guard.protocols import Clock
from asgi_guard.rls.binding.registry import mark_of

__all__ = ["SQLStore", "create_state_table", "state_table"]

_INSERTS: Final[dict[str, Any]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
_COLUMNS: Final = frozenset({"key", "value", "ends_at"})
_KEYS_AT_ONCE: Final = 1_000  # drivers limit a statement's parameters, some to 32,766
_WRITES_PER_PURGE: Final = 64
_PURGED_AT_ONCE: Final = 256  # four for each write: ended entries can only become fewer
_GRACE_SECONDS: Final = (
    300.0  # a process whose clock is ahead must not remove what others still use
)


def state_table(
    metadata: MetaData, *, name: str = "guard_state", schema: str | None = None
) -> Table:
    """Declare the table in *metadata*, so that your migrations make it.

    Args:
        metadata: Not the one that `tenant_policies` is given: no tenant owns these rows.
        name: Of the table.
        schema: One of its own keeps it away from the app's role.
    """
    return Table(
        name,
        metadata,
        Column("key", String(250), primary_key=True),
        Column("value", LargeBinary, nullable=False),
        Column("ends_at", Double, nullable=False),  # Unix seconds
        Index(f"ix_{name}_ends_at", "ends_at"),
        schema=schema,
    )


async def create_state_table(engine: AsyncEngine, table: Table) -> None:
    """Make *table* and its index unless they are there; for tests and apps without migrations.

    Raises:
        UnavailableError: The database does not answer, or refuses.
    """
    await StoreCalls(engine, timeout=30.0).connected(
        lambda connection: connection.run_sync(table.create, checkfirst=True)
    )


class SQLStore:
    """Keeps entries in one table; methods and errors as in `KeyValueStore`.

    Args:
        engine: PostgreSQL (asyncpg, psycopg) or SQLite (aiosqlite), not guarded, as the table's
            own role.
        table: Made by `state_table`.
        timeout: Seconds that one operation may take, waiting for a connection included.
        clock: Its ``now`` decides when an entry ends. Processes that share a table need clocks
            that agree, as for tokens.

    Raises:
        ConfigError: The engine is not async, is guarded or crosses tenants, or is of another
            database; the table has other columns; the timeout is not positive.

    Rows of entries that have ended are removed on the way: every 64th write of a process also
    removes up to 256 of them. `purge` removes all at once.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        table: Table,
        *,
        timeout: float = 5.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        _check_engine(engine)
        if not _COLUMNS.issubset(table.c.keys()):
            raise ConfigError("SQLStore.table", "has other columns", "Declare it by state_table.")
        if not timeout > 0:
            raise ConfigError("SQLStore.timeout", f"is {timeout!r}", "Pass more than 0.")
        self._calls = StoreCalls(engine, timeout=timeout)
        self._insert = _INSERTS[engine.dialect.name]
        self._table = table
        self._clock = clock
        self._writes = 0

    async def check(self) -> None:
        """See that the table is there and may be read; for start-up.

        Raises:
            UnavailableError: It is not, or the database does not answer.
        """
        await self._calls.run(select(self._table).limit(0))

    async def finish(self) -> None:
        """Wait for statements whose callers have left; before the engine is disposed of."""
        await self._calls.finish()

    async def get(self, key: str) -> bytes | None:
        """Return the value of *key*, or None."""
        return (await self.get_many([key]))[0]

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each of *keys*, in their order; a round trip per thousand."""
        for key in keys:
            check_key(key)
        columns = self._table.c
        found: dict[str, bytes] = {}
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            some = list(keys[start : start + _KEYS_AT_ONCE])
            which = columns.key == some[0] if len(some) == 1 else columns.key.in_(some)
            query = select(columns.key, columns.value).where(which, self._lasts())
            found |= {row.key: bytes(row.value) for row in await self._calls.run(query)}
        return [found.get(key) for key in keys]

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        """Write, whatever was there."""
        await self._upsert(key, value, ttl)

    async def put_if_absent(self, key: str, value: bytes, *, ttl: float) -> bool:
        """Write if nothing is there, or only what has ended; return whether this call wrote."""
        return await self._upsert(key, value, ttl, only_if=~self._lasts())

    async def replace(self, key: str, old: bytes, new: bytes, *, ttl: float) -> bool:
        """Write *new* if *old* is what is there; return whether this call wrote."""
        check_entry(key, new, ttl)
        return await self._write(
            update(self._table)
            .where(self._is(key), self._table.c.value == bytes(old))
            .values(value=bytes(new), ends_at=self._clock.now() + ttl)
        )

    async def take(self, key: str) -> bytes | None:
        """Remove the entry and return its value, to one caller only."""
        check_key(key)
        gone = delete(self._table).where(self._is(key)).returning(self._table.c.value)
        row = (await self._calls.run(gone)).first()
        return None if row is None else bytes(row.value)

    async def delete(self, key: str) -> bool:
        """Remove the entry; return whether there was one."""
        check_key(key)
        return (await self._calls.run(delete(self._table).where(self._is(key)))).rowcount == 1

    async def purge(self) -> int:
        """Remove the rows of all entries that ended over five minutes ago; return how many."""
        total = 0
        while removed := await self._purge_some():
            total += removed
        return total

    async def _upsert(self, key: str, value: bytes, ttl: float, *, only_if: Any = None) -> bool:
        check_entry(key, value, ttl)
        row = {"key": key, "value": bytes(value), "ends_at": self._clock.now() + ttl}
        insert = self._insert(self._table).values(row)
        return await self._write(
            insert.on_conflict_do_update(
                index_elements=[self._table.c.key],
                set_={"value": insert.excluded.value, "ends_at": insert.excluded.ends_at},
                where=only_if,
            )
        )

    async def _write(self, statement: Insert | Update) -> bool:
        # Asked for a row: not every driver counts the rows of an insert.
        wrote = (await self._calls.run(statement.returning(self._table.c.key))).first() is not None
        self._writes += 1
        if self._writes % _WRITES_PER_PURGE == 0:
            await self._purge_on_the_way()
        return wrote

    async def _purge_on_the_way(self) -> None:
        try:
            await self._purge_some()
        except UnavailableError:
            return  # the write is done; the rows are still there for the next

    async def _purge_some(self) -> int:
        key, ends_at = self._table.c.key, self._table.c.ends_at
        ended = ends_at <= self._clock.now() - _GRACE_SECONDS
        # Skipping what others have locked: two purges in unlike order would wait for each other.
        some = (
            select(key)
            .where(ended)
            .order_by(ends_at)
            .limit(_PURGED_AT_ONCE)
            .with_for_update(skip_locked=True)
        )
        gone = delete(self._table).where(key.in_(some.scalar_subquery()), ended)
        return (await self._calls.run(gone)).rowcount

    def _is(self, key: str) -> Any:
        return (self._table.c.key == key) & self._lasts()

    def _lasts(self) -> Any:
        return self._table.c.ends_at > self._clock.now()


def _check_engine(engine: AsyncEngine) -> None:
    if not isinstance(engine, AsyncEngine):
        raise ConfigError(
            "SQLStore.engine",
            f"is a {type(engine).__name__}",
            "Pass an AsyncEngine, from sqlalchemy.ext.asyncio.create_async_engine.",
        )
    if mark_of(engine) is not None:
        raise ConfigError(
            "SQLStore.engine",
            "is guarded or crosses tenants, and sessions are looked up before any tenant is bound",
            "Pass create_async_engine(...) of a role that may reach this table only.",
        )
    if engine.dialect.name not in _INSERTS:
        raise ConfigError(
            "SQLStore.engine",
            f"is of {engine.dialect.name}, whose atomic statements are not known here",
            "Use PostgreSQL, SQLite, or RedisStore.",
        )
