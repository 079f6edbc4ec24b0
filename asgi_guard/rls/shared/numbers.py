"""Numbers that count within one tenant: invoices, tickets, orders.

A sequence is shared: its numbers tell each tenant how much the others do, and whoever may draw
from it may read where it stands. A row of a guarded table is one tenant's.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Column, FetchedValue, MetaData, Table, Text

from asgi_guard.errors import ConfigError
from asgi_guard.rls.ddl.names import identifier
from asgi_guard.rls.models import column_type
from asgi_guard.rls.shared.asking import ask, ask_sync
from asgi_guard.rls.variables import RLSVariables

__all__ = ["TenantNumbers"]

_OPERATION: Final = "next_number"
_SERIES_LIMIT: Final = 200


class TenantNumbers:
    """Gapless numbers for each tenant and series, in a guarded table of the app's metadata.

    ::

        numbers = TenantNumbers(Base.metadata)          # before tenant_policies(Base.metadata)
        number = await numbers.next_number(session, "invoice")

    A number is taken when the transaction commits: one that is rolled back gives it back, so
    there is no gap, and no number twice. The price is that the transactions of one tenant that
    draw from one series wait for each other, from the drawing to the end of the transaction: draw
    late. Other tenants and series do not wait. Under REPEATABLE READ or SERIALIZABLE the one that
    waited fails instead (SQLSTATE 40001), to be tried again.

    Args:
        metadata: Where the table is added; `tenant_policies` of it guards the table.
        name: Of the table.
        schema: Of the table.
        variables: Names and id type, as for `tenant_policies`.

    Raises:
        ConfigError: *metadata* is none, or has such a table already.
    """

    def __init__(
        self,
        metadata: MetaData,
        *,
        name: str = "tenant_numbers",
        schema: str | None = None,
        variables: RLSVariables | None = None,
    ) -> None:
        if not isinstance(metadata, MetaData):
            raise ConfigError(
                "TenantNumbers(metadata)", f"got a {type(metadata).__name__}", "Pass Base.metadata."
            )
        key = f"{schema}.{name}" if schema else name
        if key in metadata.tables:
            raise ConfigError(
                "TenantNumbers(name)", f"{key!r} is a table already", "Pass another name."
            )
        names = variables or RLSVariables()
        self.table = Table(
            name,
            metadata,
            Column(
                names.column,
                column_type(names),
                primary_key=True,
                autoincrement=False,
                server_default=FetchedValue(),
            ),
            Column("series", Text, primary_key=True),
            Column("last", BigInteger, nullable=False),
            schema=schema,
        )
        # A table without a schema is found where the app's own statements find theirs.
        found = f"{identifier(schema)}.{identifier(name)}" if schema else identifier(name)
        tenant = identifier(names.column)
        self._sql = (
            f"INSERT INTO {found} AS counter (series, last) "  # noqa: S608 - names are quoted
            "VALUES (CAST($1 AS text), CAST($2 AS bigint)) "
            f"ON CONFLICT ({tenant}, series) DO UPDATE SET last = counter.last + 1 "
            "RETURNING last"
        )

    async def next_number(self, db: Any, series: str, *, start: int = 1) -> int:
        """Draw the current tenant's next number of *series*.

        Args:
            db: The guarded ``AsyncSession``, ``AsyncConnection`` or asyncpg connection that the
                transaction is on.
            series: What is numbered, e.g. ``"invoice"`` or ``"invoice-2025"``.
            start: The first number of a new series.

        Returns:
            *start*, or one more than the last.

        Raises:
            ConfigError: *series* is empty or longer than 200 characters, or *db* is of another
                kind.
            RLSViolationError: No tenant, or a handle that is unguarded or another's.
        """
        return int(await ask(db, _OPERATION, self._sql, _checked(series), start))

    def next_number_sync(self, db: Any, series: str, *, start: int = 1) -> int:
        """Do what `next_number` does, on a guarded sync ``Session`` or ``Connection``."""
        return int(ask_sync(db, _OPERATION, self._sql, _checked(series), start))


def _checked(series: str) -> str:
    usable = isinstance(series, str) and 0 < len(series) <= _SERIES_LIMIT and "\0" not in series
    if not usable:
        raise ConfigError(
            "next_number(series)", "is no name of a series", "Pass 1 to 200 characters."
        )
    return series
