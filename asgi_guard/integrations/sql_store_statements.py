"""The statements of a `SQLStore`, built once: building one anew costs more than sending it."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    Column,
    Delete,
    Double,
    Executable,
    Index,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    bindparam,
    delete,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

__all__ = ["DIALECTS", "StateStatements", "state_table"]

DIALECTS: Final[dict[str, Any]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
"""Insert statements that can meet a row that is there already, by dialect."""


def state_table(
    metadata: MetaData, *, name: str = "guard_state", schema: str | None = None
) -> Table:
    """Declare the table in *metadata*, so that your migrations make it.

    Args:
        metadata: Not the one that `tenant_policies` is given: no tenant owns these rows.
        name: Of the table.
        schema: One of its own keeps it away from the app's role.
    """
    return Table(
        name,
        metadata,
        Column("key", String(250), primary_key=True),
        Column("value", LargeBinary, nullable=False),
        Column("ends_at", Double, nullable=False),  # Unix seconds
        Index(f"ix_{name}_ends_at", "ends_at"),
        schema=schema,
    )


class StateStatements:
    """Each is atomic by itself, and takes ``now``, Unix seconds, to tell what has ended.

    Args:
        table: Made by `state_table`.
        dialect: A key of `DIALECTS`.

    ``put`` and ``put_if_absent`` take ``key``, ``value`` and ``ends_at``; ``replace`` takes
    ``the_key``, ``old``, ``new`` and ``new_end``. These three return a row if they wrote. ``take``
    and ``get`` take ``the_key``, ``get_many`` ``the_keys``, ``purge`` ``before`` and ``most``.
    """

    def __init__(self, table: Table, dialect: str) -> None:
        columns = table.c
        lasts = columns.ends_at > bindparam("now")
        this = (columns.key == bindparam("the_key")) & lasts
        self.get: Select[Any] = select(columns.key, columns.value).where(this)
        self.get_many: Select[Any] = select(columns.key, columns.value).where(
            columns.key.in_(bindparam("the_keys", expanding=True)), lasts
        )
        self.put: Executable = _upsert(table, dialect, None)
        self.put_if_absent: Executable = _upsert(table, dialect, ~lasts)
        self.replace: Executable = (
            update(table)
            .where(this, columns.value == bindparam("old"))
            .values(value=bindparam("new"), ends_at=bindparam("new_end"))
            .returning(columns.key)
        )
        self.take: Executable = delete(table).where(this).returning(columns.value)
        self.purge: Delete = _purge(table)


def _upsert(table: Table, dialect: str, only_if: Any) -> Executable:
    insert = DIALECTS[dialect](table).values(
        {name: bindparam(name) for name in ("key", "value", "ends_at")}
    )
    taken: Executable = insert.on_conflict_do_update(
        index_elements=[table.c.key],
        set_={"value": insert.excluded.value, "ends_at": insert.excluded.ends_at},
        where=only_if,
    ).returning(table.c.key)  # a row, for not every driver counts what an insert wrote
    return taken


def _purge(table: Table) -> Delete:
    ended = table.c.ends_at <= bindparam("before")
    # Skipping what others have locked: two purges in unlike order would wait for each other.
    some = (
        select(table.c.key)
        .where(ended)
        .order_by(table.c.ends_at)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True)
    )
    return delete(table).where(table.c.key.in_(some.scalar_subquery()), ended)
