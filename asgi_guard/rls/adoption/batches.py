"""Filling the tenant of rows that are there, a few blocks at a time.

The place is the physical one (``ctid``): a range of blocks is read without an index, whatever the
table's key, and each row that is filled moves behind a tenant that is no longer NULL. Each batch
is a transaction of its own, with the place in it: killed, the next run goes on there. What slipped
by, because a row moved meanwhile, is found by the next pass; a pass that fills nothing is the last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from asgi_guard.errors import NotReadyError
from asgi_guard.rls.adoption.retries import retried
from asgi_guard.rls.adoption.state import AdoptionStore, Progress
from asgi_guard.rls.ddl.names import identifier
from asgi_guard.rls.variables import RLSVariables

__all__ = ["Filled", "fill"]

_LOCK_TIMEOUT: Final = "2s"


@dataclass(frozen=True, slots=True)
class Filled:
    """How far one table is filled, for a progress bar: blocks done, blocks there, rows filled."""

    table: str
    done: int
    total: int
    rows: int


async def fill(
    connection: Any,
    store: AdoptionStore,
    progress: Progress,
    variables: RLSVariables,
    *,
    blocks: int,
    told: Callable[[Filled], None],
) -> None:
    """Fill every table of a step, from where it was left.

    Raises:
        NotReadyError: Rows are left to which their source gives no tenant.
    """
    column = identifier(variables.column)
    for leaf, (table, source) in enumerate(progress.step.fill):
        if leaf < progress.leaf:
            continue
        block = progress.block if leaf == progress.leaf else 0
        while await _pass(
            connection,
            store,
            _Place(progress.position, leaf, table, column, source),
            block,
            blocks=blocks,
            told=told,
        ):
            block = 0
        await _refuse_orphans(connection, table, column)


@dataclass(frozen=True, slots=True)
class _Place:
    """What a batch is of."""

    position: int
    leaf: int
    table: str
    column: str
    source: str


async def _pass(
    connection: Any,
    store: AdoptionStore,
    place: _Place,
    block: int,
    *,
    blocks: int,
    told: Callable[[Filled], None],
) -> bool:
    """Go over the table once; tell whether another pass is worth while."""
    started, rows = block, 0
    total = await connection.fetchval(
        "SELECT pg_catalog.pg_relation_size($1::text::regclass) "
        "/ pg_catalog.current_setting('block_size')::int",
        place.table,
    )
    while block < total:
        last = min(block + blocks, total)

        async def batch(first: int = block, last: int = last) -> int:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
                # Counted are those that got a tenant: orphans would keep the passes going.
                filled = await connection.fetchval(
                    f"WITH filled AS (UPDATE ONLY {place.table} AS r "
                    f"SET {place.column} = {place.source} "
                    f"WHERE {place.column} IS NULL AND ctid >= '({first},0)'::tid "
                    f"AND ctid < '({last},0)'::tid RETURNING r.{place.column} AS tenant) "
                    "SELECT count(tenant) FROM filled"
                )
                await store.mark(place.position, "begun", leaf=place.leaf, block=last)
            return int(filled)

        rows += await retried(batch)
        block = last
        told(Filled(place.table, block, total, rows))
    if started == 0 and rows == 0:
        return False
    left = await connection.fetchval(
        f"SELECT EXISTS (SELECT FROM ONLY {place.table} WHERE {place.column} IS NULL)"
    )
    return bool(left) and (rows > 0 or started > 0)


async def _refuse_orphans(connection: Any, table: str, column: str) -> None:
    left = await connection.fetchval(f"SELECT count(*) FROM ONLY {table} WHERE {column} IS NULL")
    if left:
        raise NotReadyError(
            "adoption_orphans",
            f"{left} rows of {table} have no tenant: their source gives none. Mend or delete "
            "them, and run again.",
        )
