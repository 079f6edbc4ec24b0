"""Names, literals and comments as SQL text; the one place that quotes.

DDL takes no bind parameters, so every name is quoted by SQLAlchemy's own preparer, and a name
that could end a comment or a dollar-quoted block is refused.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql

from asgi_guard.errors import ConfigError

__all__ = ["DOLLAR", "TableName", "explained", "identifier", "literal"]

DOLLAR: Final = "$asgi_guard$"
"""The tag that quotes the body of every ``DO`` block."""

_preparer: Final = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]  # SQLAlchemy leaves dialect constructors untyped


def identifier(name: str) -> str:
    """Return *name* as SQL, quoted when PostgreSQL would read it otherwise (section 4.1.1)."""
    return str(_preparer.quote(name))


def literal(text: str) -> str:
    """Return *text* as an SQL string constant (``standard_conforming_strings``, the default)."""
    return "'" + text.replace("'", "''") + "'"


def explained(statement: str, why: str) -> str:
    """Put *why* in front of *statement*, as comment lines."""
    return "".join(f"-- {line}\n" for line in why.splitlines()) + statement


class TableName(NamedTuple):
    """A table or view, always with its schema: nothing depends on a session's search path."""

    schema: str
    name: str

    @classmethod
    def of(cls, table: Table, default_schema: str) -> TableName:
        """Name *table*, which lives in *default_schema* unless it says otherwise."""
        return cls(table.schema or default_schema, table.name).checked()

    @classmethod
    def parse(cls, text: str, default_schema: str) -> TableName:
        """Read ``"name"`` or ``"schema.name"``, as SQLAlchemy spells table keys."""
        schema, dot, name = text.rpartition(".")
        return cls(schema if dot else default_schema, name).checked()

    def checked(self) -> TableName:
        """Return the name itself.

        Raises:
            ConfigError: It is empty, holds a control character, or the tag of our ``DO`` blocks.
        """
        for part in self:
            if not part or not part.isprintable() or DOLLAR in part:
                raise ConfigError(
                    "tenant_policies(tables)",
                    f"{part!r} cannot be a table's or schema's name",
                    "Use printable characters.",
                )
        return self

    @property
    def sql(self) -> str:
        """The qualified name as SQL."""
        return f"{identifier(self.schema)}.{identifier(self.name)}"

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"
