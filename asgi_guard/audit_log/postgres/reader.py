"""Read a log in PostgreSQL: verify all of it, or stream what a query asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Final

from asgi_guard.audit_log.findings import VerifyReport
from asgi_guard.audit_log.postgres.rows import COLUMNS, columns_agree, record_of
from asgi_guard.audit_log.postgres.tables import AuditTables
from asgi_guard.audit_log.query import AuditQuery
from asgi_guard.audit_log.record import AuditRecord, Checkpoint, MalformedLineError, parse_line
from asgi_guard.audit_log.signing import AuditVerifyKeys
from asgi_guard.audit_log.verify import Verifier
from asgi_guard.errors import ConfigError

__all__ = ["read_rows", "verify_tables"]

_SLICE: Final = 500
_COLUMNS: Final = ", ".join(f'"{name}"' for name in ("position", *COLUMNS))
_CONDITIONS: Final = (
    ("since", '"timestamp" >='),
    ("until", '"timestamp" <'),
    ("user_id", "user_id ="),
    ("name", "security_event ="),
    ("outcome", "outcome ="),
)


async def read_rows(
    pool: Any, tables: AuditTables, query: AuditQuery
) -> AsyncIterator[AuditRecord]:
    """Give the records that *query* asks for, oldest first; rows without a readable body not."""
    where, values = _where(query)
    sql = f"SELECT {_COLUMNS} FROM {tables.records_sql}{where} ORDER BY position"
    if query.limit is not None:
        sql += f" LIMIT {int(query.limit)}"
    async with pool.acquire() as connection, connection.transaction(readonly=True):
        async for row in connection.cursor(sql, *values, prefetch=_SLICE):
            try:
                yield record_of(row)
            except ValueError:
                continue


async def verify_tables(
    pool: Any,
    tables: AuditTables,
    keys: AuditVerifyKeys,
    *,
    anchors: Iterable[Checkpoint] = (),
    progress: Callable[[int, int], None] | None = None,
) -> VerifyReport:
    """Verify every row, and that each checkpoint's chains stand where it says.

    Args:
        pool: Of the writer role, which sees all tenants.
        tables: Names.
        keys: Whose signatures are believed.
        anchors: Checkpoints kept elsewhere; each must be there.
        progress: Called with rows done and rows in all.
    """
    verifier = Verifier(keys, anchors=anchors)
    async with (
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        total = await connection.fetchval(f"SELECT count(*) FROM {tables.records_sql}")
        rows = _Rows(connection, tables, verifier, progress, total)
        await rows.start()
        async for row in connection.cursor(
            f"SELECT number, after_position, line FROM {tables.checkpoints_sql} ORDER BY number",
            prefetch=_SLICE,
        ):
            await rows.up_to(row["after_position"])
            _take_checkpoint(verifier, row)
        await rows.up_to(None)
    return verifier.finish()


class _Rows:
    """The records in their order, as far as the next checkpoint needs them."""

    def __init__(
        self,
        connection: Any,
        tables: AuditTables,
        verifier: Verifier,
        progress: Callable[[int, int], None] | None,
        total: int,
    ) -> None:
        self._sql = f"SELECT {_COLUMNS} FROM {tables.records_sql} ORDER BY position"
        self._connection = connection
        self._verifier = verifier
        self._progress = progress
        self._total = total
        self._done = 0
        self._waiting: list[Any] = []

    async def start(self) -> None:
        self._cursor = await self._connection.cursor(self._sql)

    async def up_to(self, position: int | None) -> None:
        """Feed the records up to *position*; None: all that are left."""
        while True:
            if not self._waiting:
                self._waiting = list(reversed(await self._cursor.fetch(_SLICE)))
                if self._progress is not None:
                    self._progress(self._done, self._total)
                if not self._waiting:
                    return
            if position is not None and self._waiting[-1]["position"] > position:
                return
            _take_row(self._verifier, self._waiting.pop())
            self._done += 1


def _take_row(verifier: Verifier, row: Any) -> None:
    where = f"position {row['position']}"
    try:
        record = record_of(row)
    except ValueError:
        verifier.found("altered", where, "the body is not its own", row["chain"], row["seq"])
        return
    if not columns_agree(row, record):
        problem = "the columns do not say what the body says"
        verifier.found("altered", where, problem, record.chain, record.seq)
    verifier.take(record, where)


def _take_checkpoint(verifier: Verifier, row: Any) -> None:
    where = f"checkpoint {row['number']}"
    try:
        entry = parse_line(row["line"].encode())
    except MalformedLineError:
        verifier.found("altered", where, "it is no checkpoint")
        return
    if not isinstance(entry, Checkpoint) or entry.number != row["number"]:
        verifier.found("altered", where, "it is another one")
        return
    verifier.take(entry, where)


def _where(query: AuditQuery) -> tuple[str, list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    for name, condition in _CONDITIONS:
        if (value := getattr(query, name)) is not None:
            values.append(value)
            conditions.append(f"{condition} ${len(values)}")
    if query.tenant_id is not None:
        values.append(query.tenant_id)
        conditions.append(f"chain = ${len(values)}")
    if query.after is not None:
        if not (query.after.isascii() and query.after.isdecimal()) or len(query.after) > 18:  # noqa: PLR2004 - fits a bigint
            raise ConfigError("AuditQuery.after", "is no cursor", "Pass a record's cursor.")
        values.append(int(query.after))
        conditions.append(f"position > ${len(values)}")
    return (f" WHERE {' AND '.join(conditions)}" if conditions else ""), values
