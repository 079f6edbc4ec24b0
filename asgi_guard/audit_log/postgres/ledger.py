"""The statements of a log in PostgreSQL: locks, heads, rows and checkpoints, within a transaction.

Each takes one round trip, however many chains or rows it is about. Locks are advisory, end with
their transaction, and are taken in one order by everybody: the gate, chains, checkpoints. The gate
is shared by all writers; who holds it alone knows that no chain is about to grow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from asgi_guard.audit_log.errors import AuditTamperedError
from asgi_guard.audit_log.postgres.connections import Statements
from asgi_guard.audit_log.postgres.rows import COLUMNS, lock_of, row_of
from asgi_guard.audit_log.postgres.tables import AuditTables
from asgi_guard.audit_log.record import AuditRecord, Checkpoint, Head, parse_line

__all__ = ["Ledger"]

# No tenant's name: ids are printable.
_CHECKPOINTS: Final = lock_of("", "\x00checkpoints")
_GATE: Final = lock_of("", "\x00gate")
_ARRAYS: Final = {"timestamp": "timestamptz", "seq": "bigint"}


class Ledger:
    """What can be done to the tables of one log.

    Args:
        tables: Names.
    """

    def __init__(self, tables: AuditTables) -> None:
        self._records = tables.records_sql
        self._checkpoints = tables.checkpoints_sql
        self._insert = _insert_sql(tables)

    async def lock_chains(
        self, statements: Statements, log: str, chains: Iterable[str], *, alone: bool = False
    ) -> None:
        """Keep others from adding to *chains*; *alone*: to any chain."""
        numbers = sorted(lock_of(log, chain) for chain in chains)
        gate = "pg_advisory_xact_lock" if alone else "pg_advisory_xact_lock_shared"
        await statements.fetch(
            f"SELECT CASE WHEN place = 1 THEN pg_catalog.{gate}(number)::text "
            "ELSE pg_catalog.pg_advisory_xact_lock(number)::text END "
            "FROM unnest($1::bigint[]) WITH ORDINALITY AS wanted (number, place)",
            [_GATE, *numbers],
        )

    async def lock_checkpoints(self, statements: Statements) -> None:
        """Keep others from adding a checkpoint."""
        await statements.fetch("SELECT pg_catalog.pg_advisory_xact_lock($1)", _CHECKPOINTS)

    async def heads(
        self, statements: Statements, chains: Iterable[str]
    ) -> tuple[dict[str, Head], int]:
        """Return where *chains* stand, and the highest position among their last records."""
        rows = await statements.fetch(
            "SELECT last.chain, last.position, last.seq, last.hash "
            "FROM unnest($1::text[]) AS wanted (chain) "
            f"CROSS JOIN LATERAL ({self._last_of('wanted.chain')}) AS last",
            sorted(set(chains)),
        )
        return _heads(rows)

    async def all_heads(self, statements: Statements) -> tuple[dict[str, Head], int]:
        """Return where every chain stands; steps from chain to chain in the index."""
        step = f"SELECT chain FROM {self._records}"
        rows = await statements.fetch(
            f"WITH RECURSIVE known AS (({step} ORDER BY chain LIMIT 1) UNION ALL "
            f"SELECT ({step} WHERE chain > known.chain ORDER BY chain LIMIT 1) "
            "FROM known WHERE known.chain IS NOT NULL) "
            "SELECT last.chain, last.position, last.seq, last.hash FROM known "
            f"CROSS JOIN LATERAL ({self._last_of('known.chain')}) AS last"
        )
        return _heads(rows)

    async def add(self, statements: Statements, records: Sequence[AuditRecord]) -> int:
        """Append signed *records*, and return the position of the last."""
        if not records:
            return 0
        columns = [list(values) for values in zip(*map(row_of, records), strict=True)]
        rows = await statements.fetch(self._insert, *columns)
        return int(rows[0]["position"])

    async def latest(self, statements: Statements) -> Checkpoint | None:
        """Return the newest checkpoint.

        Raises:
            AuditTamperedError: What is there is none.
        """
        rows = await statements.fetch(
            f"SELECT line FROM {self._checkpoints} ORDER BY number DESC LIMIT 1"
        )
        return _checkpoint(rows[0]["line"]) if rows else None

    async def put(self, statements: Statements, made: Checkpoint, after: int) -> None:
        """Append a checkpoint that covers the records up to position *after*."""
        await statements.fetch(
            f"INSERT INTO {self._checkpoints} (number, after_position, line) VALUES ($1, $2, $3)",
            made.number,
            after,
            made.line().decode(),
        )

    async def full_before(
        self, statements: Statements, moment: str
    ) -> tuple[Checkpoint, int] | None:
        """Return the newest checkpoint before *moment* that names every chain, and its position."""
        # In JSON's one spelling no name of a chain can hold this text: its quotes are escaped.
        rows = await statements.fetch(
            f"SELECT line, after_position FROM {self._checkpoints} "
            "WHERE strpos(line, '\"full\":true') > 0 AND line::jsonb->>'time' < $1 "
            "ORDER BY number DESC LIMIT 1",
            moment,
        )
        return (_checkpoint(rows[0]["line"]), rows[0]["after_position"]) if rows else None

    async def drop_before(self, statements: Statements, begin: Checkpoint, after: int) -> int:
        """Delete what *begin* closes, but for the last record of each chain; return how many."""
        rows = await statements.fetch(
            f"WITH gone AS (DELETE FROM {self._records} AS old WHERE old.position <= $1 "
            f"AND EXISTS (SELECT FROM {self._records} AS newer "
            "WHERE newer.chain = old.chain AND newer.seq > old.seq) RETURNING 1) "
            "SELECT count(*) AS records FROM gone",
            after,
        )
        await statements.fetch(f"DELETE FROM {self._checkpoints} WHERE number < $1", begin.number)
        return int(rows[0]["records"])

    def _last_of(self, chain: str) -> str:
        return (
            f"SELECT chain, position, seq, hash FROM {self._records} AS each "
            f"WHERE each.chain = {chain} ORDER BY each.seq DESC LIMIT 1"
        )


def _heads(rows: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Head], int]:
    found = list(rows)
    heads = {row["chain"]: Head(row["seq"], row["hash"]) for row in found}
    return heads, max((row["position"] for row in found), default=0)


def _checkpoint(line: str) -> Checkpoint:
    found = parse_line(line.encode())
    if not isinstance(found, Checkpoint):
        raise AuditTamperedError("altered", "the latest checkpoint is none")
    return found


def _insert_sql(tables: AuditTables) -> str:
    """Return the statement that appends any number of rows, each column as one array."""
    names = ", ".join(f'"{name}"' for name in COLUMNS)
    arrays = ", ".join(
        f"${number}::{_ARRAYS.get(name, 'text')}[]" for number, name in enumerate(COLUMNS, 1)
    )
    casts = {"tenant_id": f"::{tables.tenant_type}", "details": "::jsonb"}
    values = ", ".join(f'given."{name}"{casts.get(name, "")}' for name in COLUMNS)
    return (
        f"WITH added AS (INSERT INTO {tables.records_sql} ({names}) SELECT {values} "
        f"FROM unnest({arrays}) WITH ORDINALITY AS given ({names}, place) "
        "ORDER BY given.place RETURNING position) SELECT max(position) AS position FROM added"
    )
