"""What a guarded table's own definition must have: the tenant in every key.

A unique key without the tenant tells one tenant what another has (the insert fails), and a
foreign key without it points across tenants and cascades there. Policies stop neither: key checks
ignore them (PostgreSQL docs, section 5.9). Both are refused when the policies are built.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

from sqlalchemy import (
    Column,
    Constraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.exc import NoReferenceError

from asgi_guard.errors import ConfigError
from asgi_guard.rls.ddl.names import TableName
from asgi_guard.rls.inventory import Inventory

__all__ = ["check_column", "check_keys", "has_leading_index"]

_Item = TypeVar("_Item", Constraint, Index)

_HELPER: Final = "TenantScoped and tenant_foreign_key() write such keys"
_BTREE_KEYS: Final = (PrimaryKeyConstraint, UniqueConstraint)
_dialect: Final = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves dialect constructors untyped


def check_column(name: TableName, table: Table, inventory: Inventory) -> None:
    """Refuse a table without the tenant column, or with one that compares loosely.

    Raises:
        ConfigError: The column is missing or has a type in which two ids may be equal.
    """
    variables = inventory.variables
    column = table.columns.get(variables.column)
    if column is None:
        raise ConfigError(
            _setting(name),
            f"has no column {variables.column!r}",
            f"Add it (TenantScoped does), or declare the table: shared=[{name.name!r}] for "
            f"reference data, system_only=[{name.name!r}] for tables the app never reads",
        )
    spelled = str(column.type.compile(dialect=_dialect)).lower()
    if not _fits(spelled, variables.tenant_id.sql_type):
        raise ConfigError(
            _setting(name),
            f"{variables.column!r} is {spelled}, tenant ids are {variables.tenant_id.sql_type}",
            "Give the column that type; citext, char(n) and collations may equate two ids",
        )


def check_keys(name: TableName, table: Table, inventory: Inventory) -> None:
    """Refuse keys that cross tenants.

    Raises:
        ConfigError: A primary, unique, exclusion or foreign key lacks the tenant column.
    """
    column = inventory.variables.column
    for constraint in _in_order(table.constraints):
        if isinstance(constraint, ForeignKeyConstraint):
            _check_foreign_key(name, constraint, inventory)
        elif _is_unique(constraint) and column not in _columns(constraint):
            _refuse_unique(name, constraint.name, _columns(constraint), column)
    for index in _in_order(table.indexes):
        if index.unique and column not in _columns(index):
            _refuse_unique(name, index.name, _columns(index), column)


def has_leading_index(table: Table, column: str) -> bool:
    """Tell whether a key or a whole B-tree index of *table* begins with *column*."""
    keys = [_columns(item) for item in table.constraints if isinstance(item, _BTREE_KEYS)]
    keys += [_columns(index) for index in table.indexes if _is_whole_btree(index)]
    return any(names[:1] == [column] for names in keys)


def _fits(spelled: str, wanted: str) -> bool:
    if wanted == "text":
        return spelled == "text" or spelled.startswith("varchar")
    if wanted in {"bigint", "integer"}:
        return spelled in {"bigint", "integer", "bigserial", "serial"}
    return spelled == wanted


def _is_unique(constraint: Constraint) -> bool:
    if isinstance(constraint, PrimaryKeyConstraint):
        return bool(_columns(constraint))  # a table without a key still has an empty one
    return isinstance(constraint, UniqueConstraint | ExcludeConstraint)


def _is_whole_btree(index: Index) -> bool:
    options = index.dialect_options["postgresql"]
    first = next(iter(index.expressions), None)
    return (
        isinstance(first, Column)
        and options["where"] is None
        and str(options["using"] or "btree").lower() == "btree"
    )


def _columns(item: Constraint | Index) -> list[str]:
    columns: Iterable[Column[object]] = getattr(item, "columns", ())
    return [column.name for column in columns]


def _in_order(items: Iterable[_Item]) -> list[_Item]:
    # Sets, in SQLAlchemy: sorted, so that the same mistake is always named first.
    return sorted(items, key=lambda item: (type(item).__name__, str(item.name), _columns(item)))


def _check_foreign_key(
    name: TableName, constraint: ForeignKeyConstraint, inventory: Inventory
) -> None:
    column = inventory.variables.column
    targets = [_target(element, inventory.default_schema) for element in constraint.elements]
    mine = [element.parent.name for element in constraint.elements]
    table = targets[0][0]
    if table in inventory.shared:
        return
    theirs = [target for _, target in targets]
    pairs = dict(zip(mine, theirs, strict=True))
    if column not in pairs or (table in inventory.guarded and pairs[column] != column):
        raise ConfigError(
            _setting(name),
            f"the foreign key ({', '.join(mine)}) to {table} does not carry {column!r}, so it "
            "reaches into other tenants",
            f"Refer to {table.name} ({', '.join(dict.fromkeys([column, *theirs]))}); {_HELPER}",
        )
    action = (constraint.ondelete or "").upper()
    if action in {"SET NULL", "SET DEFAULT"}:
        rest = ", ".join(key for key in mine if key != column)
        raise ConfigError(
            _setting(name),
            f"ON DELETE {action} would clear {column!r} as well",
            f'Write ondelete="{action} ({rest})"; {_HELPER}',
        )


def _target(element: ForeignKey, default_schema: str) -> tuple[TableName, str]:
    try:
        column = element.column
    except NoReferenceError:  # the other table is in no metadata that we were given
        path, _, name = element.target_fullname.rpartition(".")
        return TableName.parse(path, default_schema), name
    return TableName.of(column.table, default_schema), column.name


def _refuse_unique(name: TableName, key: object, columns: list[str], column: str) -> None:
    raise ConfigError(
        _setting(name),
        f"the unique key {key or 'primary key'} ({', '.join(columns) or 'an expression'}) lacks "
        f"{column!r}, so one tenant learns what another has",
        f"Make it ({', '.join([column, *columns])}); {_HELPER}",
    )


def _setting(name: TableName) -> str:
    return f"tenant_policies({name})"
