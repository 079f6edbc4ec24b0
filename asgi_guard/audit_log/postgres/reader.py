"""Read a log in PostgreSQL: verify all of it, or stream what a query asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Final

from asgi_guard.audit_log.findings import VerifyReport
from asgi_guard.audit_log.postgres.rows import COLUMNS, columns_agree, record_of
from asgi_guard.audit_log.postgres.tables import AuditTables
from asgi_guard.audit_log.query import AuditQuery
from asgi_guard.audit_log.record import (
    AuditRecord,
    Checkpoint,
    Head,
    MalformedLineError,
    parse_line,
)
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
        oldest: int | None = None
        async for row in connection.cursor(
            f"SELECT number, after_position, line FROM {tables.checkpoints_sql} ORDER BY number",
            prefetch=_SLICE,
        ):
            if oldest is None:
                oldest = row["number"]
                await rows.skip_kept(_heads_at_beginning(row, keys), row["after_position"])
            await rows.up_to(row["after_position"])
            _take_checkpoint(verifier, row)
        await rows.up_to(None)
    rows.judge_missing()
    if oldest is not None and verifier.latest is not None and oldest > verifier.latest.first:
        problem = f"the log begins at checkpoint {oldest}, and is signed from"
        verifier.found("dropped", "the beginning", f"{problem} {verifier.latest.first}")
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
        self._unseen: set[str] = set()

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
            row = self._waiting.pop()
            self._unseen.discard(row["chain"])
            _take_row(self._verifier, row)
            self._done += 1

    async def skip_kept(self, heads: Mapping[str, Head], position: int) -> None:
        """Pass over what retention left: the last record of each chain that ended long ago.

        Args:
            heads: Where the chains stood at the checkpoint that the log begins with.
            position: The last that this checkpoint covers.
        """
        self._unseen = set(heads)
        if heads and not self._waiting:
            self._waiting = list(reversed(await self._cursor.fetch(_SLICE)))
        while self._waiting and self._waiting[-1]["position"] <= position:
            if not _is_head(self._waiting[-1], heads):
                return  # fed to the verifier, which knows that it should not be there
            self._unseen.discard(self._waiting.pop()["chain"])
            self._verifier.records += 1
            self._done += 1
            if not self._waiting:
                self._waiting = list(reversed(await self._cursor.fetch(_SLICE)))

    def judge_missing(self) -> None:
        """Note the chains that should have a record at the beginning or later, and have none."""
        for chain in sorted(self._unseen):
            problem = "the last record of a chain that retention leaves is gone"
            self._verifier.found("dropped", "the beginning", problem, chain)


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


def _heads_at_beginning(row: Any, keys: AuditVerifyKeys) -> Mapping[str, Head]:
    """Return where the chains stood when an older part was deleted; nothing in a whole log."""
    try:
        entry = parse_line(row["line"].encode())
    except MalformedLineError:
        return {}
    if not isinstance(entry, Checkpoint) or not entry.full or not entry.is_signed(keys):
        return {}
    return entry.heads


def _is_head(row: Any, heads: Mapping[str, Head]) -> bool:
    """Tell whether a row is, unchanged, the record that its chain's signed head names."""
    try:
        record = record_of(row)
    except ValueError:
        return False
    return (
        heads.get(record.chain) == record.head
        and record.recomputed_hash() == record.hash
        and columns_agree(row, record)
    )
