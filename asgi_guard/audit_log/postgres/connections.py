"""Run our two kinds of statement on whatever connection the caller's transaction is on."""

from __future__ import annotations

import re
from typing import Any, Final, Protocol

from asgi_guard.errors import ConfigError

__all__ = ["Statements", "statements_on"]

_PLACE: Final = re.compile(r"\$\d+")


class Statements(Protocol):
    """What the log needs of a connection."""

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        """Run *sql* with ``$1`` … in their order, and return its rows."""


def statements_on(connection: Any) -> Statements:
    """Return the statements of a connection or session that is in a transaction.

    Of asyncpg, psycopg's async kind, or SQLAlchemy: ``AsyncConnection``, ``AsyncSession`` and,
    where nothing needs to be awaited, ``Connection``.

    Raises:
        ConfigError: It is none of these.
    """
    if hasattr(connection, "fetch"):
        return _Asyncpg(connection)
    if hasattr(connection, "pgconn"):
        return _Psycopg(connection)
    if hasattr(connection, "exec_driver_sql") and not hasattr(connection, "sync_connection"):
        return _Blocking(connection)
    if hasattr(connection, "exec_driver_sql") or hasattr(connection, "connection"):
        return _SQLAlchemy(connection)
    raise ConfigError(
        "record(connection)",
        f"got a {type(connection).__name__}",
        "Pass an asyncpg connection, or SQLAlchemy's AsyncConnection or AsyncSession.",
    )


class _Asyncpg:
    def __init__(self, connection: Any) -> None:
        if not connection.is_in_transaction():
            raise ConfigError(
                "record(connection)", "is in no transaction", "Use async with transaction()."
            )
        self._connection = connection

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        return list(await self._connection.fetch(sql, *values))


class _SQLAlchemy:
    def __init__(self, handle: Any) -> None:
        self._handle = handle

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        handle = self._handle
        connection = handle if hasattr(handle, "exec_driver_sql") else await handle.connection()
        if connection.dialect.paramstyle in {"pyformat", "format"}:  # psycopg
            sql = _PLACE.sub("%s", sql)
        result = await connection.exec_driver_sql(sql, values)
        return list(result.mappings()) if result.returns_rows else []


class _Blocking:
    """SQLAlchemy's sync ``Connection``: each statement is done when the call returns."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        result = self._connection.exec_driver_sql(_PLACE.sub("%s", sql), values)
        return list(result.mappings()) if result.returns_rows else []


class _Psycopg:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        cursor = await self._connection.execute(_PLACE.sub("%s", sql), values)
        if cursor.description is None:
            return []
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]
