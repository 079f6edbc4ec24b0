"""PostgresAuditSink: the table ``audit_logs``, shared by every worker.

A chain grows under an advisory lock that its transaction holds, so workers take turns within a
tenant and not across tenants. Use READ COMMITTED, PostgreSQL's default: a transaction with an
older snapshot would not see the newest record, collide with its number, and fail.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from secrets import token_hex
from typing import Any, Final

from asgi_guard._internal.clock import utc
from asgi_guard.audit_log.canonical import time_text
from asgi_guard.audit_log.errors import AuditTamperedError, AuditUnavailableError
from asgi_guard.audit_log.findings import VerifyReport
from asgi_guard.audit_log.postgres.connections import Statements, statements_on
from asgi_guard.audit_log.postgres.reader import read_rows, verify_tables
from asgi_guard.audit_log.postgres.rows import COLUMNS, lock_of, row_of, signed, storable
from asgi_guard.audit_log.postgres.tables import AuditTables
from asgi_guard.audit_log.query import AuditQuery
from asgi_guard.audit_log.record import AuditRecord, Checkpoint, Head, genesis, parse_line
from asgi_guard.audit_log.signing import AuditVerifyKeys
from asgi_guard.audit_log.sinks import Seal

__all__ = ["PostgresAuditSink"]

_CHECKPOINTS: Final = "\x00checkpoints"  # no tenant's name: ids are printable


class PostgresAuditSink:
    """Records in the table that `AuditTables` makes.

    Args:
        pool: An asyncpg pool whose connections are of the writer role: a plain one, not a guarded
            one, because the log writes for all tenants.
        tables: Names.
    """

    def __init__(self, pool: Any, *, tables: AuditTables | None = None) -> None:
        self._pool = pool
        self._tables = tables or AuditTables()
        self._seal: Seal | None = None
        self._log = ""
        self._touched: set[str] = set()
        self._insert = self._insert_sql()

    @property
    def label(self) -> str:
        """The table."""
        return f"postgres:{self._tables.records_sql}"

    @property
    def unsigned(self) -> bool:
        """Whether transactions added records that no checkpoint covers yet."""
        return bool(self._touched)

    async def open(self, seal: Seal) -> None:
        """Find the log, or begin it.

        Raises:
            AuditTamperedError: The latest checkpoint is not signed by a known key.
            OSError, asyncpg.PostgresError: The database cannot be reached or lacks the tables.
        """
        self._seal = seal
        async with self._pool.acquire() as connection, connection.transaction():
            statements = statements_on(connection)
            await self._lock(statements, [lock_of("", _CHECKPOINTS)])
            latest = await self._latest(statements)
            if latest is None:
                latest = await self._put_checkpoint(statements, None, {}, 0)
            elif not latest.is_signed(seal.keys):
                raise AuditTamperedError("forged", f"no known key signed {latest.number}")
        self._log = latest.log

    async def write(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Append a batch and its checkpoint in one transaction.

        Raises:
            AuditUnavailableError: The sink is not open.
        """
        if self._seal is None:
            raise AuditUnavailableError("audit_log_closed")
        touched = set(self._touched)
        kept = [storable(fields, self._tables.tenant_type) for fields in events]
        async with self._pool.acquire() as connection, connection.transaction():
            statements = statements_on(connection)
            names = touched | {fields["tenant_id"] or "" for fields in kept}
            heads, last = await self._locked_heads(statements, names)
            for fields in kept:
                last = max(last, await self._add(statements, heads, fields))
            await self._lock(statements, [lock_of("", _CHECKPOINTS)])
            await self._put_checkpoint(statements, await self._latest(statements), heads, last)
        self._touched -= touched

    async def write_in(self, connection: Any, fields: Mapping[str, Any]) -> None:
        """Append one record inside the caller's transaction, as the caller's role.

        The next checkpoint covers it; its own signature holds until then.

        Raises:
            AuditUnavailableError: The sink is not open.
            ConfigError: *connection* is none, or in no transaction.
        """
        if self._seal is None:
            raise AuditUnavailableError("audit_log_closed")
        statements = statements_on(connection)
        chain = fields["tenant_id"] or ""
        heads, _ = await self._locked_heads(statements, [chain])
        await self._add(statements, heads, fields)
        self._touched.add(chain)

    async def aclose(self) -> None:
        """Cover what transactions have added; the pool stays its owner's."""
        if self._seal is not None and self._touched:
            await self.write(())
        self._seal = None

    def read(self, query: AuditQuery) -> AsyncIterator[AuditRecord]:
        """Stream what *query* asks for, through a cursor."""
        return read_rows(self._pool, self._tables, query)

    async def verify(
        self,
        keys: AuditVerifyKeys,
        *,
        anchors: Sequence[Checkpoint] = (),
        progress: Callable[[int, int], None] | None = None,
    ) -> VerifyReport:
        """Verify every row and checkpoint, as of one moment."""
        return await verify_tables(
            self._pool, self._tables, keys, anchors=anchors, progress=progress
        )

    async def _locked_heads(
        self, statements: Statements, names: Iterable[str]
    ) -> tuple[dict[str, Head], int]:
        """Take the chains' locks, in one order for everybody, and return where they stand."""
        chains = sorted(set(names))
        await self._lock(statements, sorted(lock_of(self._log, chain) for chain in chains))
        heads, last = {}, 0
        for chain in chains:
            rows = await statements.fetch(
                f"SELECT position, seq, hash FROM {self._tables.records_sql} "
                "WHERE chain = $1 ORDER BY seq DESC LIMIT 1",
                chain,
            )
            for row in rows:
                heads[chain] = Head(row["seq"], row["hash"])
                last = max(last, row["position"])
        return heads, last

    async def _lock(self, statements: Statements, numbers: list[int]) -> None:
        for number in numbers:
            await statements.fetch("SELECT pg_catalog.pg_advisory_xact_lock($1)", number)

    async def _add(
        self, statements: Statements, heads: dict[str, Head], fields: Mapping[str, Any]
    ) -> int:
        if self._seal is None:
            raise AuditUnavailableError("audit_log_closed")
        chain = fields["tenant_id"] or ""
        before = heads.get(chain) or genesis(self._log, chain)
        record = AuditRecord.following(before, log=self._log, chain=chain, fields=fields)
        row = row_of(signed(record, self._seal.key))
        rows = await statements.fetch(self._insert, *row)
        heads[chain] = record.head
        return int(rows[0]["position"])

    async def _latest(self, statements: Statements) -> Checkpoint | None:
        rows = await statements.fetch(
            f"SELECT line FROM {self._tables.checkpoints_sql} ORDER BY number DESC LIMIT 1"
        )
        if not rows:
            return None
        found = parse_line(rows[0]["line"].encode())
        if not isinstance(found, Checkpoint):
            raise AuditTamperedError("altered", "the latest checkpoint is none")
        return found

    async def _put_checkpoint(
        self,
        statements: Statements,
        before: Checkpoint | None,
        heads: Mapping[str, Head],
        last: int,
    ) -> Checkpoint:
        if self._seal is None:
            raise AuditUnavailableError("audit_log_closed")
        made = Checkpoint(
            log=token_hex(16) if before is None else before.log,
            number=0 if before is None else before.number + 1,
            prev="" if before is None else before.hash,
            time=time_text(utc(self._seal.clock.now())),
            reason="open" if before is None else "batch",
            full=before is None,
            heads=heads,
        ).signed_by(self._seal.key)
        await statements.fetch(
            f"INSERT INTO {self._tables.checkpoints_sql} (number, after_position, line) "
            "VALUES ($1, $2, $3)",
            made.number,
            last,
            made.line().decode(),
        )
        return made

    def _insert_sql(self) -> str:
        casts = {"tenant_id": f"::text::{self._tables.tenant_type}", "details": "::text::jsonb"}
        places = ", ".join(
            f"${number}{casts.get(name, '')}" for number, name in enumerate(COLUMNS, 1)
        )
        names = ", ".join(f'"{name}"' for name in COLUMNS)
        return (
            f"INSERT INTO {self._tables.records_sql} ({names}) VALUES ({places}) RETURNING position"
        )
