"""Which table is what: guarded by a tenant, shared by all, or the system's alone.

One value, read by the generated DDL, by the catalog checks and by the probe, so that the three
can never disagree about what must be protected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import MetaData, Table

from asgi_guard.errors import ConfigError
from asgi_guard.rls.ddl.names import TableName
from asgi_guard.rls.variables import RLSVariables

__all__ = ["Inventory", "TableSource", "sort_tables"]

TableSource = MetaData | Table | Iterable[Table]
"""What may stand for a set of tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Every table and view that the policies know, by kind.

    Args:
        variables: What the database calls things.
        guarded: Tables whose rows belong to one tenant each.
        shared: Reference data: every tenant reads all of it, none writes.
        system_only: Tables that the runtime role cannot reach at all.
        views: Views over guarded tables, run with the rights of whoever asks.
        default_schema: Where tables live that name no schema.
        global_keys: Guarded tables whose keys may lack the tenant, for a while.
        accepted: Findings of the audit that are told as warnings: code and object, and why.
    """

    variables: RLSVariables = field(default_factory=RLSVariables)
    guarded: tuple[TableName, ...] = ()
    shared: tuple[TableName, ...] = ()
    system_only: tuple[TableName, ...] = ()
    views: tuple[TableName, ...] = ()
    default_schema: str = "public"
    global_keys: tuple[TableName, ...] = ()
    accepted: Mapping[tuple[str, str], str] = field(default_factory=dict)

    @property
    def schemas(self) -> tuple[str, ...]:
        """Every schema that holds one of them, sorted."""
        everything = (*self.guarded, *self.shared, *self.system_only, *self.views)
        return tuple(sorted({table.schema for table in everything}))


def sort_tables(
    source: TableSource,
    *,
    variables: RLSVariables,
    shared: Iterable[str | Table] = (),
    system_only: Iterable[str | Table] = (),
    views: Iterable[str | Table] = (),
    schema: str = "public",
) -> tuple[Inventory, dict[TableName, Table]]:
    """Put each table of *source* under one kind; what is not declared otherwise is guarded.

    Args:
        source: The tables.
        variables: What the database calls things.
        shared: Tables of reference data, by name or as tables.
        system_only: Tables kept from the runtime role.
        views: Views; they need not be in *source*.
        schema: Where tables live that name no schema.

    Returns:
        The inventory, and the guarded tables by name.

    Raises:
        ConfigError: A name is unknown, or stands under two kinds.
    """
    known = {TableName.of(table, schema): table for table in _tables(source)}
    kinds = {
        "shared": _names(shared, schema),
        "system_only": _names(system_only, schema),
        "views": _names(views, schema),
    }
    _refuse_unknown(kinds, known)
    _refuse_double(kinds)
    declared = {name for names in kinds.values() for name in names}
    guarded = {name: table for name, table in known.items() if name not in declared}
    inventory = Inventory(
        variables=variables,
        guarded=tuple(guarded),
        default_schema=schema,
        shared=kinds["shared"],
        system_only=kinds["system_only"],
        views=kinds["views"],
    )
    return inventory, guarded


def _tables(source: TableSource) -> list[Table]:
    if isinstance(source, MetaData):
        return list(source.tables.values())
    if isinstance(source, Table):
        return [source]
    if isinstance(source, type) or not isinstance(source, Iterable):
        raise _not_a_table(source)
    tables = list(source)
    for table in tables:
        if not isinstance(table, Table):
            raise _not_a_table(table)
    return tables


def _not_a_table(given: object) -> ConfigError:
    return ConfigError(
        "tenant_policies(tables)",
        f"{given!r} is neither a MetaData nor a table",
        "Pass Base.metadata, a Table or several Tables; a model's is Model.__table__.",
    )


def _names(items: Iterable[str | Table], schema: str) -> tuple[TableName, ...]:
    if isinstance(items, str):
        raise ConfigError("tenant_policies(tables)", f"{items!r} is one string", "Pass a list.")
    return tuple(_name(item, schema) for item in items)


def _name(item: str | Table, schema: str) -> TableName:
    if isinstance(item, Table):
        return TableName.of(item, schema)
    if not isinstance(item, str):
        raise _not_a_table(item)
    return TableName.parse(item, schema)


def _refuse_unknown(kinds: dict[str, tuple[TableName, ...]], known: dict[TableName, Table]) -> None:
    # A misspelt name would leave the table it meant guarded, which is safe, or, the other way
    # round, leave a reader of the code believing in a protection that is not there.
    for kind in ("shared", "system_only"):
        for name in kinds[kind]:
            if name not in known:
                raise ConfigError(
                    f"tenant_policies({kind})",
                    f"there is no table {str(name)!r}",
                    "Name a table of the metadata.",
                )


def _refuse_double(kinds: dict[str, tuple[TableName, ...]]) -> None:
    seen: dict[TableName, str] = {}
    for kind, names in kinds.items():
        for name in names:
            if seen.setdefault(name, kind) != kind:
                raise ConfigError(
                    f"tenant_policies({kind})",
                    f"{str(name)!r} is declared as {seen[name]} too",
                    "Declare it once.",
                )
