"""Bulk load under row-level security, where PostgreSQL refuses ``COPY ... FROM``.

    async with rls_enforced_session(engine, tenant_id, "notes.import") as tenant_db:
        await bulk_load(tenant_db, "notes", records, columns=["id", "title"])

The records are copied into a temporary table that its transaction drops, and inserted from there
under the policies like any other rows: the database fills the tenant in and refuses another's.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from os import PathLike
from typing import Any, BinaryIO, Final, TypeAlias

import asyncpg
from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from asgi_guard.errors import ConfigError
from asgi_guard.rls.binding.asyncpg_connection import guard_of
from asgi_guard.rls.binding.handles import inspector_of
from asgi_guard.rls.ddl.functions import current_tenant
from asgi_guard.rls.ddl.names import TableName, identifier
from asgi_guard.rls.session import rls_enforced_session
from asgi_guard.rls.variables import RLSVariables
from asgi_guard.rls.violations import mismatch
from asgi_guard.tenancy.current import require_context

__all__ = ["Records", "bulk_load", "bulk_load_csv"]

Records: TypeAlias = Iterable[Sequence[Any]] | AsyncIterable[Sequence[Any]]
"""One sequence of values per row, in the order of the columns."""

_OPERATION: Final = "bulk_load"
_NAME: Final = "asgi_guard_bulk_"
_KEY: Final = """
    SELECT ARRAY (SELECT a.attname::text FROM pg_catalog.unnest(i.indkey::int2[])
        WITH ORDINALITY AS k (number, place) JOIN pg_catalog.pg_attribute a
        ON a.attrelid = i.indrelid AND a.attnum = k.number ORDER BY k.place)
    FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class c ON c.oid = i.indrelid AND c.relname = $2
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = $1
    WHERE i.indisprimary"""


async def bulk_load(
    db: Any,
    table: str | Table,
    records: Records,
    *,
    columns: Sequence[str],
    tenant_id: str | None = None,
    schema: str = "public",
) -> int:
    """Insert many records of one tenant, at nearly the speed of ``COPY``.

    Args:
        db: A guarded asyncpg pool or connection, or an ``AsyncEngine``, ``AsyncSession`` or
            ``AsyncConnection`` over asyncpg. A transaction that is open is used and left open.
        table: The guarded table, ``"notes"`` or ``"shop.notes"``.
        records: Values in the order of *columns*, as asyncpg takes them; read as they are sent,
            never kept. All or none are inserted.
        columns: The columns that *records* carry. The tenant's is filled in when it is not among
            them; when it is, every record must name the bound tenant.
        tenant_id: Whose rows; by default the current context's.
        schema: Where a table lives that names no schema.

    Returns:
        How many rows were inserted.

    Raises:
        ConfigError: *db* is not asyncpg's, *columns* are none, or the role may not make temporary
            tables (``GRANT TEMPORARY ON DATABASE ... TO app_runtime``).
        RLSViolationError: A record names another tenant or none (``TENANT_MISMATCH``), or as
            `rls_enforced_session`.
        asyncpg.PostgresError: The database refuses a value or a key; nothing is inserted.
        TypeError: A value is none of its column's type, for asyncpg; nothing is inserted.
    """
    async with _staged(db, table, columns, tenant_id, schema) as stage:
        await stage.connection.copy_records_to_table(
            stage.name, records=records, columns=list(columns)
        )
        return await stage.insert()


async def bulk_load_csv(
    db: Any,
    table: str | Table,
    source: str | PathLike[str] | BinaryIO | AsyncIterable[bytes],
    *,
    columns: Sequence[str],
    header: bool = True,
    tenant_id: str | None = None,
    schema: str = "public",
) -> int:
    """Insert the lines of a CSV file of one tenant; otherwise as `bulk_load`.

    Args:
        db: As `bulk_load`.
        table: As `bulk_load`.
        source: A path, an open binary file, or pieces of one as they arrive.
        columns: The columns in the order of the file.
        header: The first line names columns, and is passed over.
        tenant_id: As `bulk_load`.
        schema: As `bulk_load`.

    Returns:
        How many rows were inserted.

    Raises:
        As `bulk_load`.
    """
    async with _staged(db, table, columns, tenant_id, schema) as stage:
        await stage.connection.copy_to_table(
            stage.name, source=source, columns=list(columns), format="csv", header=header
        )
        return await stage.insert()


@dataclass(frozen=True, slots=True)
class _Stage:
    """A temporary table in a bound transaction of *connection*."""

    connection: Any
    name: str
    table: TableName
    columns: tuple[str, ...]
    variables: RLSVariables

    async def make(self) -> None:
        # AS SELECT: the columns' types, and none of their constraints, which the INSERT checks.
        columns = ", ".join(identifier(column) for column in self.columns)
        try:
            await self.connection.execute(
                f"CREATE TEMP TABLE {self.name} ON COMMIT DROP "  # noqa: S608 - quoted names
                f"AS SELECT {columns} FROM {self.table.sql} WITH NO DATA"
            )
        except asyncpg.InsufficientPrivilegeError as error:
            if "temporary" not in str(error):
                raise
            raise ConfigError(
                _OPERATION,
                "the role may not make temporary tables",
                f"GRANT TEMPORARY ON DATABASE ... TO {self.variables.runtime_role};",
            ) from None

    async def insert(self) -> int:
        """Move the rows over under the policies, and say how many they were."""
        tenant = identifier(self.variables.column)
        bound = f"(SELECT {current_tenant(self.variables)})"  # asked once, not per row
        listed = [identifier(column) for column in self.columns]
        if self.variables.column in self.columns:
            await self._refuse_foreign(tenant, bound)
            targets, values = listed, listed
        else:
            targets, values = [tenant, *listed], [bound, *listed]
        status = await self.connection.execute(
            f"INSERT INTO {self.table.sql} ({', '.join(targets)}) "  # noqa: S608 - quoted names
            f"SELECT {', '.join(values)} FROM {self.name}{await self._in_key_order()}"
        )
        await self.connection.execute(f"DROP TABLE {self.name}")
        return int(status.rpartition(" ")[2])

    async def _in_key_order(self) -> str:
        """Sort by the primary key: random keys then meet warm pages of its index."""
        key = await self.connection.fetchval(_KEY, self.table.schema, self.table.name)
        listed = [identifier(column) for column in key or () if column in self.columns]
        return f" ORDER BY {', '.join(listed)}" if listed else ""

    async def _refuse_foreign(self, tenant: str, bound: str) -> None:
        # The policy refuses them too; this says so in our own words, before a row is written.
        foreign = await self.connection.fetchval(
            f"SELECT EXISTS (SELECT FROM {self.name} "  # noqa: S608 - quoted names
            f"WHERE {tenant} IS DISTINCT FROM {bound})"
        )
        if foreign:
            raise mismatch(
                "a record of the bulk load names another tenant, or none; nothing was inserted",
                reason="record_of_another",
                operation=_OPERATION,
            )


@asynccontextmanager
async def _staged(
    db: Any, table: str | Table, columns: Sequence[str], tenant_id: str | None, schema: str
) -> AsyncIterator[_Stage]:
    named = _columns(columns)
    target = (
        TableName.of(table, schema) if isinstance(table, Table) else TableName.parse(table, schema)
    )
    tenant = tenant_id or require_context(_OPERATION).tenant_id
    async with rls_enforced_session(db, tenant, _OPERATION) as handle:
        look = inspector_of(type(handle))
        variables = (look(handle).variables if look else None) or RLSVariables()
        connection = await _driver(handle)
        # The same name for the same columns: asyncpg keeps what it learned of their types by it.
        told = "\0".join((*target, *named)).encode()
        stage = _Stage(
            connection, f"{_NAME}{sha256(told).hexdigest()[:24]}", target, named, variables
        )
        await stage.make()
        yield stage


async def _driver(handle: Any) -> Any:
    connection = handle
    if isinstance(handle, AsyncSession):
        connection = await handle.connection()
    if isinstance(connection, AsyncConnection):
        connection = (await connection.get_raw_connection()).driver_connection
    if guard_of(connection) is None:
        raise ConfigError(
            _OPERATION,
            f"a {type(handle).__name__} over another driver than asyncpg cannot copy",
            "Use postgresql+asyncpg, or create_guarded_pool.",
        )
    return connection


def _columns(columns: Sequence[str]) -> tuple[str, ...]:
    named = () if isinstance(columns, str) else tuple(columns)
    wrong = not all(isinstance(column, str) and column.isprintable() for column in named)
    if not named or wrong or len(set(named)) != len(named):
        raise ConfigError(
            f"{_OPERATION}(columns)",
            "they are none, or one stands twice",
            'Name each once: columns=["id", "title"].',
        )
    return named
