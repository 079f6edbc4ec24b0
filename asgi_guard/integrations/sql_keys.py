"""SQLKeyStore: the signing keys of many machines, in one row that the vault's master seals.

::

    engine = create_async_engine("postgresql+asyncpg://keys@db.internal/app", poolclass=NullPool)
    store = SQLKeyStore(engine, signing_keys_table(MetaData()), masters=KeyRing(master))
    keys = KeyManager(store)

Whoever reads the table, or a backup of it, gets no key; whoever writes to it makes none. The role
needs SELECT, INSERT and UPDATE on this table and nothing else. ``docs/tokens.md`` has its SQL.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final, NamedTuple

from sqlalchemy import Table, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.events import emit
from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.integrations.sql_keys_row import SealedRow, as_bytes, open_row, seal_row
from asgi_guard.integrations.sql_keys_table import INSERTS, check_engine, signing_keys_table
from asgi_guard.vault import KeyRing

__all__ = ["SQLKeyStore", "signing_keys_table"]

_RING: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_NOTHING: Final = SealedRow(0, b"", "", b"", b"")


class SQLKeyStore:
    """A `KeyStore` in one row of PostgreSQL or SQLite.

    Args:
        engine: Asynchronous, not guarded, without a pool (``poolclass=NullPool``): it is used
            from a thread, on an event loop of its own.
        table: Made by `signing_keys_table`.
        masters: Seal what is written, open what is read. The same as the vault's, or others.
        ring: Name of the row, for several services in one table: 1 to 64 of ``a-z 0-9 . _ -``.
        timeout: Seconds that one step may take. While another process makes an RSA-4096 key this
            one waits for it, so allow for that.

    Raises:
        ConfigError: An option is not what it should be.

    The row is locked from reading to writing, and written only if it still has the version that
    was read. A process that dies takes its lock and its change with it. A process does not take
    a version older than one it has seen; a new process cannot know.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        table: Table,
        *,
        masters: KeyRing,
        ring: str = "default",
        timeout: float = 60.0,
    ) -> None:
        check_engine(engine)
        if not isinstance(masters, KeyRing):
            raise ConfigError("SQLKeyStore.masters", "is no KeyRing", "Pass a vault.KeyRing.")
        if not isinstance(ring, str) or not _RING.fullmatch(ring):
            raise ConfigError("SQLKeyStore.ring", f"is {ring!r}", 'Give a name, e.g. "default".')
        if not timeout > 0:
            raise ConfigError("SQLKeyStore.timeout", f"is {timeout!r}", "Pass more than 0.")
        self._engine, self._table, self._masters = engine, table, masters
        self._ring, self._timeout = ring, timeout
        self._newest = 0
        self._here = threading.local()  # the lock that this thread holds, and no other

    def read(self) -> bytes | None:
        """Return the keys as they were written last; None if nothing was.

        Raises:
            ConfigError: No master opens them; the row was changed, removed or put back.
            UnavailableError: The database or the master does not answer.
        """
        held = self._held()
        if held is None:
            with self.locked():
                return self.read()
        if held.row.version == 0:
            return None
        return held.runner.run(open_row(self._masters, self._ring, held.row))

    def write(self, content: bytes) -> None:
        """Seal *content* and commit it; the lock is held.

        Raises:
            ConfigError: It is longer than 64 KiB.
            UnavailableError: The database or the master does not answer; another has written.
        """
        held = self._held()
        if held is None:
            raise UnavailableError("keys_not_locked")
        held.runner.run(self._replace(held, content))

    def stamp(self) -> object:
        """Return the version and the data key's name; None if nothing was written."""
        held = self._held()
        row = held.row if held is not None else self._alone(self._look())
        return (row.version, row.key_id) if row.version else None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the row's lock, in a transaction that ends with the block.

        Raises:
            UnavailableError: The database does not answer, or another holds the lock too long.
        """
        with asyncio.Runner() as runner:
            connection, row = runner.run(self._begin())
            self._here.held = _Held(runner, connection, row)
            try:
                yield
            finally:
                self._here.held = None
                runner.run(_end(connection))

    async def reseal(self) -> bool:
        """Seal the keys under the active master, if another seals them; tell whether it did.

        After this the older master can go. Keys and tokens stay as they are.

        Raises:
            ConfigError: No master opens them.
            UnavailableError: The database or the master does not answer.
        """
        did = await asyncio.to_thread(self._reseal)
        if did:
            emit("KEYS_RESEALED", outcome="allowed", clock=SYSTEM_CLOCK)
        return did

    def _reseal(self) -> bool:
        with self.locked():
            content, held = self.read(), self._held()
            if content is None or held is None or held.row.master_id == self._masters.active_id:
                return False
            self.write(content)
        return True

    def _held(self) -> _Held | None:
        found: _Held | None = getattr(self._here, "held", None)
        return found

    def _alone(self, work: Any) -> SealedRow:
        with asyncio.Runner() as runner:
            row: SealedRow = runner.run(work)
        return row

    async def _look(self) -> SealedRow:
        async with self._bounded():
            connection = await self._connected()
            try:
                return await self._row(connection, for_update=False)
            finally:
                await _end(connection)

    async def _begin(self) -> tuple[AsyncConnection, SealedRow]:
        async with self._bounded():
            connection = await self._connected()
            try:
                # Whoever comes first holds the place; the others wait for its transaction's end.
                insert = INSERTS[self._engine.dialect.name](self._table)
                place = {"ring": self._ring, **_NOTHING._asdict()}
                await connection.execute(insert.values(place).on_conflict_do_nothing())
                return connection, await self._row(connection, for_update=True)
            except BaseException:
                await _end(connection)
                raise

    async def _replace(self, held: _Held, content: bytes) -> None:
        old, columns = held.row, self._table.c
        new = await seal_row(self._masters, self._ring, content, version=old.version + 1)
        change = (
            update(self._table)
            .where(columns.ring == self._ring, columns.version == old.version)
            .values(new._asdict())
        )
        async with self._bounded():
            if (await held.connection.execute(change)).rowcount != 1:
                raise UnavailableError("keys_changed_meanwhile")
            await held.connection.commit()
        self._newest = max(self._newest, new.version)
        self._here.held = held._replace(row=new)

    async def _connected(self) -> AsyncConnection:
        connection = await self._engine.connect()
        try:
            if self._engine.dialect.name == "sqlite":
                wait = int(self._timeout * 1000)
                await connection.exec_driver_sql(f"PRAGMA busy_timeout = {wait}")
                return connection
            # In a stricter level, whoever waited for the lock would fail instead of reading on.
            return await connection.execution_options(isolation_level="READ COMMITTED")
        except BaseException:
            await _end(connection)
            raise

    async def _row(self, connection: AsyncConnection, *, for_update: bool) -> SealedRow:
        columns = [self._table.c[name] for name in SealedRow._fields]
        query = select(*columns).where(self._table.c.ring == self._ring)
        found = (await connection.execute(query.with_for_update() if for_update else query)).first()
        row = _NOTHING if found is None else as_bytes(SealedRow(*found))
        if row.version < self._newest:
            raise ConfigError(
                f"signing keys {self._ring!r}",
                f"are of version {row.version}, and version {self._newest} was there already",
                "Somebody put an older row back; see who, then restart.",
            )
        self._newest = row.version
        return row

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except (SQLAlchemyError, OSError) as failure:  # TimeoutError is an OSError
            raise UnavailableError("keys_unreachable") from failure


class _Held(NamedTuple):
    """A lock: the loop and the transaction that hold it, and the row as it is there."""

    runner: asyncio.Runner
    connection: AsyncConnection
    row: SealedRow


async def _end(connection: AsyncConnection) -> None:
    # What was to be kept was committed; a connection that is gone has ended by itself.
    with suppress(SQLAlchemyError, OSError):
        await connection.rollback()
    with suppress(SQLAlchemyError, OSError):
        await connection.close()
