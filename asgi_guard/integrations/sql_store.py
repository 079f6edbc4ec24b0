"""SQLStore: the `KeyValueStore` of an app with many processes and a database.

Each operation is one statement in autocommit: atomic, one round trip, no transaction that a
cancelled caller could leave open. What is kept belongs to no tenant (a session is looked up
before any tenant is known), so the table lies beside the guarded ones, under a role of its own.
``docs/stores.md`` has that role's SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from sqlalchemy import CursorResult, Executable, Table
from sqlalchemy.ext.asyncio import AsyncEngine

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.memory_store import check_entry, check_key
from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.integrations.sql_store_calls import StoreCalls
from asgi_guard.integrations.sql_store_statements import DIALECTS, StateStatements, state_table
from asgi_guard.protocols import Clock
from asgi_guard.rls.binding.registry import mark_of

__all__ = ["SQLStore", "create_state_table", "state_table"]

_COLUMNS: Final = frozenset({"key", "value", "ends_at"})
_KEYS_AT_ONCE: Final = 1_000  # drivers limit a statement's parameters, some to 32,766
_WRITES_PER_PURGE: Final = 64
_PURGED_AT_ONCE: Final = 256  # four for each write: ended entries can only become fewer
_GRACE_SECONDS: Final = (
    300.0  # a process whose clock is ahead must not remove what others still use
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
        self._statements = StateStatements(table, engine.dialect.name)
        self._clock = clock
        self._writes = 0

    async def check(self) -> None:
        """See that the table is there and may be read; for start-up.

        Raises:
            UnavailableError: It is not, or the database does not answer.
        """
        await self.get_many(["check"])

    async def finish(self) -> None:
        """Wait for statements whose callers have left; before the engine is disposed of."""
        await self._calls.finish()

    async def get(self, key: str) -> bytes | None:
        """Return the value of *key*, or None."""
        check_key(key)
        row = (await self._run(self._statements.get, the_key=key)).first()
        return None if row is None else bytes(row.value)

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each of *keys*, in their order; a round trip per thousand."""
        for key in keys:
            check_key(key)
        found: dict[str, bytes] = {}
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            some = list(keys[start : start + _KEYS_AT_ONCE])
            rows = await self._run(self._statements.get_many, the_keys=some)
            found |= {row.key: bytes(row.value) for row in rows}
        return [found.get(key) for key in keys]

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        """Write, whatever was there."""
        check_entry(key, value, ttl)
        ends = self._clock.now() + ttl
        await self._write(self._statements.put, key=key, value=bytes(value), ends_at=ends)

    async def put_if_absent(self, key: str, value: bytes, *, ttl: float) -> bool:
        """Write if nothing is there, or only what has ended; return whether this call wrote."""
        check_entry(key, value, ttl)
        ends = self._clock.now() + ttl
        return await self._write(
            self._statements.put_if_absent, key=key, value=bytes(value), ends_at=ends
        )

    async def replace(self, key: str, old: bytes, new: bytes, *, ttl: float) -> bool:
        """Write *new* if *old* is what is there; return whether this call wrote."""
        check_entry(key, new, ttl)
        return await self._write(
            self._statements.replace,
            the_key=key,
            old=bytes(old),
            new=bytes(new),
            new_end=self._clock.now() + ttl,
        )

    async def take(self, key: str) -> bytes | None:
        """Remove the entry and return its value, to one caller only."""
        check_key(key)
        row = (await self._run(self._statements.take, the_key=key)).first()
        return None if row is None else bytes(row.value)

    async def delete(self, key: str) -> bool:
        """Remove the entry; return whether there was one."""
        return await self.take(key) is not None

    async def purge(self) -> int:
        """Remove the rows of all entries that ended over five minutes ago; return how many."""
        total = 0
        while removed := await self._purge_some():
            total += removed
        return total

    async def _write(self, statement: Executable, **parameters: Any) -> bool:
        wrote = (await self._run(statement, **parameters)).first() is not None
        self._writes += 1
        if self._writes % _WRITES_PER_PURGE == 0:
            with suppress(UnavailableError):  # the write is done; the rows are there for the next
                await self._purge_some()
        return wrote

    async def _purge_some(self) -> int:
        before = self._clock.now() - _GRACE_SECONDS
        purge = {"before": before, "most": _PURGED_AT_ONCE}
        return (await self._calls.run(self._statements.purge, purge)).rowcount

    async def _run(self, statement: Executable, **parameters: Any) -> CursorResult[Any]:
        return await self._calls.run(statement, {**parameters, "now": self._clock.now()})


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
    if engine.dialect.name not in DIALECTS:
        raise ConfigError(
            "SQLStore.engine",
            f"is of {engine.dialect.name}, whose atomic statements are not known here",
            "Use PostgreSQL, SQLite, or RedisStore.",
        )
