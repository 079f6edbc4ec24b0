"""TenantLargeObjects: large objects of one tenant, in pieces, inside its transaction."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any, Final

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from asgi_guard.errors import ConfigError
from asgi_guard.rls.shared.asking import ask
from asgi_guard.rls.shared.large_object_tables import LargeObjectTables

__all__ = ["TenantLargeObjects"]

_CHUNK: Final = 256 * 1024
_LARGEST_CHUNK: Final = 8 * 1024 * 1024
_GIBIBYTE: Final = 1024**3
_OPERATION: Final = "large_objects"
_DRIVER: Final = (asyncpg.Connection, PoolConnectionProxy)

Source = bytes | Iterable[bytes] | AsyncIterable[bytes]
"""What may be stored: bytes, or pieces of them."""


class TenantLargeObjects:
    """The large objects of whichever tenant *db* works for.

    ::

        objects = TenantLargeObjects(session)
        number = await objects.write(upload)         # e.g. request.stream()
        async for chunk in objects.read(number):
            ...

    An object appears when the transaction commits, and is never changed afterwards. Memory holds
    one chunk. A missing object and another tenant's are the same: ``LookupError``.

    Args:
        db: The guarded ``AsyncSession``, ``AsyncConnection`` or asyncpg connection that the
            transaction is on.
        tables: What made the table and the functions.
        chunk_size: Bytes that travel at a time, at most 8 MiB.

    Raises:
        ConfigError: *chunk_size* cannot be used.
    """

    def __init__(
        self, db: Any, *, tables: LargeObjectTables | None = None, chunk_size: int = _CHUNK
    ) -> None:
        if type(chunk_size) is not int or not 1 <= chunk_size <= _LARGEST_CHUNK:
            raise ConfigError(
                "TenantLargeObjects(chunk_size)",
                f"is {chunk_size!r}",
                f"Pass 1 to {_LARGEST_CHUNK}, in bytes.",
            )
        self._db = db
        self._chunk_size = chunk_size
        made = tables or LargeObjectTables()
        table = made.table_sql
        self._create = f"INSERT INTO {table} DEFAULT VALUES RETURNING id"  # noqa: S608 - quoted name
        self._unlink = f"DELETE FROM {table} WHERE id = CAST($1 AS uuid) RETURNING true"  # noqa: S608 - quoted name
        self._size = f"SELECT {made.function_sql('size')}(CAST($1 AS uuid))"
        self._read = (
            f"SELECT {made.function_sql('read')}"
            "(CAST($1 AS uuid), CAST($2 AS bigint), CAST($3 AS integer))"
        )
        self._write = (
            f"SELECT {made.function_sql('write')}"
            "(CAST($1 AS uuid), CAST($2 AS bigint), CAST($3 AS bytea))"
        )

    async def write(self, source: Source, *, max_bytes: int = _GIBIBYTE) -> uuid.UUID:
        """Store *source* as a new object.

        Args:
            source: Bytes, or an iterable of them, asynchronous or not.
            max_bytes: More is refused.

        Returns:
            What to keep in a row of the tenant's.

        Raises:
            ConfigError: An asyncpg connection is in no transaction.
            ValueError: It is longer than *max_bytes*. Roll back: what was stored stays otherwise.
            RLSViolationError: No tenant, or a handle that is unguarded or another's.
        """
        # Outside a transaction each statement has one of its own, and the first would end the
        # writing.
        if isinstance(self._db, _DRIVER) and not self._db.is_in_transaction():
            raise ConfigError(
                "TenantLargeObjects.write", "there is no transaction", "Begin one around it."
            )
        made: uuid.UUID | None = None
        at = 0
        async for chunk in _chunks(source, self._chunk_size):
            if at + len(chunk) > max_bytes:
                raise ValueError(f"more than {max_bytes} bytes")
            made = made or await self._make()
            if not await ask(self._db, _OPERATION, self._write, made, at, chunk):
                raise LookupError(_WRITING)
            at += len(chunk)
        return made or await self._make()

    async def read(self, number: uuid.UUID | str) -> AsyncIterator[bytes]:
        """Give an object in chunks.

        Raises:
            LookupError: This tenant has none of that number.
            RLSViolationError: No tenant, or a handle that is unguarded or another's.
        """
        number, at = _identified(number), 0
        while True:
            chunk = await ask(self._db, _OPERATION, self._read, number, at, self._chunk_size)
            if chunk is None:
                raise LookupError(_MISSING)
            if len(chunk):
                yield bytes(chunk)
            if len(chunk) < self._chunk_size:
                return
            at += len(chunk)

    async def size(self, number: uuid.UUID | str) -> int:
        """Tell how many bytes an object has.

        Raises:
            LookupError: This tenant has none of that number.
        """
        size = await ask(self._db, _OPERATION, self._size, _identified(number))
        if size is None:
            raise LookupError(_MISSING)
        return int(size)

    async def unlink(self, number: uuid.UUID | str) -> None:
        """Remove an object, when the transaction commits.

        Raises:
            LookupError: This tenant has none of that number.
        """
        if not await ask(self._db, _OPERATION, self._unlink, _identified(number)):
            raise LookupError(_MISSING)

    async def _make(self) -> uuid.UUID:
        return _identified(await ask(self._db, _OPERATION, self._create))


_MISSING: Final = "this tenant has no such large object"
_WRITING: Final = "the transaction that made the large object has ended"


def _identified(number: uuid.UUID | str) -> uuid.UUID:
    # The drivers' own kinds of UUID are made plain; text that is none names nothing.
    try:
        return uuid.UUID(str(number))
    except ValueError:
        raise LookupError(_MISSING) from None


async def _chunks(source: Source, size: int) -> AsyncIterator[bytes]:
    """Cut what comes in pieces of any size into pieces of *size*, and a last one."""
    waiting = bytearray()
    async for piece in _pieces(source):
        for start in range(0, len(piece), size):
            waiting += piece[start : start + size]
            if len(waiting) >= size:
                yield bytes(waiting[:size])
                del waiting[:size]
    if waiting:
        yield bytes(waiting)


async def _pieces(source: Source) -> AsyncIterator[bytes]:
    if isinstance(source, bytes | bytearray | memoryview):
        yield bytes(source)
    elif isinstance(source, AsyncIterable):
        async for piece in source:
            yield piece
    else:
        for piece in source:
            yield piece
