"""PostgresAuditSink: the table ``audit_logs``, shared by every worker.

A chain grows under an advisory lock that its transaction holds, so workers take turns within a
tenant and not across tenants. Use READ COMMITTED, PostgreSQL's default: a transaction with an
older snapshot would not see the newest record, collide with its number, and fail.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from secrets import token_hex
from typing import Any, Final

from asgi_guard._internal.clock import utc
from asgi_guard.audit_log.canonical import time_text
from asgi_guard.audit_log.errors import AuditTamperedError, AuditUnavailableError
from asgi_guard.audit_log.findings import VerifyReport
from asgi_guard.audit_log.postgres.connections import Statements, statements_on
from asgi_guard.audit_log.postgres.ledger import Ledger
from asgi_guard.audit_log.postgres.notices import retention_event
from asgi_guard.audit_log.postgres.reader import read_rows, verify_tables
from asgi_guard.audit_log.postgres.rows import signed, storable
from asgi_guard.audit_log.postgres.tables import AuditTables
from asgi_guard.audit_log.query import AuditQuery
from asgi_guard.audit_log.record import AuditRecord, Checkpoint, Head, genesis
from asgi_guard.audit_log.signing import AuditVerifyKeys
from asgi_guard.audit_log.sinks import Seal

__all__ = ["PostgresAuditSink"]

_DAY: Final = 10  # characters of a time that name its day


class PostgresAuditSink:
    """Records in the table that `AuditTables` makes.

    With ``AuditTables(keep_days=...)`` the first write of each day (UTC) signs where every chain
    stands, and deletes what an earlier such checkpoint closed longer ago than that.

    Args:
        pool: An asyncpg pool whose connections are of the writer role: a plain one, not a guarded
            one, because the log writes for all tenants. Or that role's DSN, for a pool of the
            sink's own that opens and closes with it.
        tables: Names, and how long records are kept.
    """

    def __init__(self, pool: Any, *, tables: AuditTables | None = None) -> None:
        self._pool = None if isinstance(pool, str) else pool
        self._dsn = pool if isinstance(pool, str) else None
        self._tables = tables or AuditTables()
        self._ledger = Ledger(self._tables)
        self._seal: Seal | None = None
        self._log = ""
        self._signed_day = ""
        self._touched: set[str] = set()

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
        if self._pool is None:
            import asyncpg  # noqa: PLC0415 - a log of files loads no driver

            self._pool = await asyncpg.create_pool(self._dsn, min_size=1, max_size=2)
        self._seal = seal
        async with self._transaction() as statements:
            await self._ledger.lock_checkpoints(statements)
            latest = await self._ledger.latest(statements)
            if latest is None:
                latest = self._checkpoint(None, {}, full=True)
                await self._ledger.put(statements, latest, 0)
            elif not latest.is_signed(seal.keys):
                raise AuditTamperedError("forged", f"no known key signed {latest.number}")
            full = await self._ledger.full_before(statements, "9")  # whenever
        self._log = latest.log
        self._signed_day = "" if full is None else full[0].time[:_DAY]

    async def write(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Append a batch and its checkpoint in one transaction.

        Raises:
            AuditUnavailableError: The sink is not open.
        """
        if self._tables.keep_days is not None and self._now()[:_DAY] != self._signed_day:
            await self._write(events, keep_days=self._tables.keep_days)
        else:
            await self._write(events)

    async def expire(self, keep_days: int | None = None) -> int:
        """Delete what is older than the retention now, and return how many records that were.

        Args:
            keep_days: Days; the tables' own by default, and never fewer than those: the database
                refuses.

        Raises:
            AuditUnavailableError: The sink is not open.
            asyncpg.PostgresError: The tables were not made for a retention that short.
        """
        days = self._tables.keep_days if keep_days is None else keep_days
        return 0 if days is None else await self._write((), keep_days=days)

    async def write_in(
        self, connection: Any, fields: Mapping[str, Any], *, spare: bool = False
    ) -> None:
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
        async with _spared(statements, spare=spare):
            await self._ledger.lock_chains(statements, self._log, [chain])
            heads, _ = await self._ledger.heads(statements, [chain])
            await self._ledger.add(statements, self._following(heads, [fields]))
        self._touched.add(chain)

    async def aclose(self) -> None:
        """Cover what transactions have added; a pool that was given stays its owner's."""
        try:
            if self._seal is not None and self._touched:
                await self.write(())
        finally:
            self._seal = None
            if self._dsn is not None and self._pool is not None:
                pool, self._pool = self._pool, None
                await pool.close()

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

    async def _write(
        self, events: Sequence[Mapping[str, Any]], *, keep_days: int | None = None
    ) -> int:
        """Append a batch; with *keep_days*, drop what has expired and sign every chain."""
        touched = set(self._touched)
        kept = [storable(fields, self._tables.tenant_type) for fields in events]
        names = touched | {fields["tenant_id"] or "" for fields in kept} | {""}
        first, dropped = -1, 0
        async with self._transaction() as statements:
            await self._ledger.lock_chains(
                statements, self._log, names, alone=keep_days is not None
            )
            if keep_days is not None:
                first, dropped = await self._drop(statements, keep_days)
                if dropped and self._seal is not None:
                    kept.append(retention_event(dropped, first, self._seal.clock))
            heads, last = await self._ledger.heads(statements, names)
            last = max(last, await self._ledger.add(statements, self._following(heads, kept)))
            if keep_days is not None:
                heads, last = await self._ledger.all_heads(statements)
            await self._ledger.lock_checkpoints(statements)
            latest = await self._ledger.latest(statements)
            made = self._checkpoint(latest, heads, full=keep_days is not None, first=first)
            await self._ledger.put(statements, made, last)
        self._touched -= touched
        if keep_days is not None:
            self._signed_day = made.time[:_DAY]
        return dropped

    async def _drop(self, statements: Statements, keep_days: int) -> tuple[int, int]:
        """Delete what has expired; return the checkpoint to begin with, if new, and how many."""
        if self._seal is None:
            raise AuditUnavailableError("audit_log_closed")
        limit = utc(self._seal.clock.now()) - timedelta(days=keep_days)
        found = await self._ledger.full_before(statements, time_text(limit))
        if found is None:
            return -1, 0
        begin, after = found
        if not begin.is_signed(self._seal.keys):
            raise AuditTamperedError("forged", f"no known key signed {begin.number}")
        return begin.number, await self._ledger.drop_before(statements, begin, after)

    def _following(
        self, heads: dict[str, Head], events: Iterable[Mapping[str, Any]]
    ) -> list[AuditRecord]:
        """Return the signed records of *events*, and move *heads* on."""
        if self._seal is None:
            raise AuditUnavailableError("audit_log_closed")
        records = []
        for fields in events:
            chain = fields["tenant_id"] or ""
            before = heads.get(chain) or genesis(self._log, chain)
            record = AuditRecord.following(before, log=self._log, chain=chain, fields=fields)
            heads[chain] = record.head
            records.append(signed(record, self._seal.key))
        return records

    def _checkpoint(
        self, before: Checkpoint | None, heads: Mapping[str, Head], *, full: bool, first: int = -1
    ) -> Checkpoint:
        if self._seal is None:
            raise AuditUnavailableError("audit_log_closed")
        return Checkpoint(
            log=token_hex(16) if before is None else before.log,
            number=0 if before is None else before.number + 1,
            prev="" if before is None else before.hash,
            time=self._now(),
            reason="open" if before is None else "rotate" if full else "batch",
            full=full,
            heads=heads,
            first=max(first, 0 if before is None else before.first),
        ).signed_by(self._seal.key)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Statements]:
        if self._seal is None or self._pool is None:
            raise AuditUnavailableError("audit_log_closed")
        async with self._pool.acquire() as connection, connection.transaction():
            yield statements_on(connection)

    def _now(self) -> str:
        if self._seal is None:
            raise AuditUnavailableError("audit_log_closed")
        return time_text(utc(self._seal.clock.now()))


@asynccontextmanager
async def _spared(statements: Statements, *, spare: bool) -> AsyncIterator[None]:
    """Undo what fails in the block alone, where the transaction must outlive it."""
    if not spare:
        yield
        return
    await statements.fetch("SAVEPOINT asgi_guard_audit")
    try:
        yield
    except BaseException:
        await statements.fetch("ROLLBACK TO SAVEPOINT asgi_guard_audit")
        raise
    await statements.fetch("RELEASE SAVEPOINT asgi_guard_audit")
