"""What the catalog says of the tables that are to be adopted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from asgi_guard.errors import ConfigError
from asgi_guard.rls.ddl.names import TableName, identifier, literal

__all__ = [
    "FoundForeignKey",
    "FoundKey",
    "FoundTable",
    "columns_sql",
    "read_tables",
]


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A unique index, and the constraint that it carries: ``p``, ``u``, or nothing."""

    index: str
    constraint: str
    kind: str
    columns: tuple[str | None, ...]
    plain: bool
    unique: bool
    deferral: str


@dataclass(frozen=True, slots=True)
class FoundForeignKey:
    """A foreign key; ``rest`` is what follows the columns in its definition."""

    name: str
    columns: tuple[str, ...]
    target: TableName
    target_columns: tuple[str, ...]
    definition: str
    on_update: str
    on_delete: str
    clears: tuple[str, ...]
    deferral: str


@dataclass(frozen=True, slots=True)
class FoundTable:
    """One table. ``leaves`` are where its rows lie: itself, or its partitions."""

    name: TableName
    kind: str
    owner: str
    column: tuple[str, bool] | None
    default: str
    grants: tuple[tuple[str, str, bool], ...]
    secured: tuple[bool, bool]
    policies: tuple[str, ...]
    leaves: tuple[str, ...]
    keys: tuple[FoundKey, ...]
    foreign_keys: tuple[FoundForeignKey, ...]


async def read_tables(connection: Any, names: list[TableName], column: str) -> list[FoundTable]:
    """Read each of *names*, in their order.

    Raises:
        ConfigError: One does not exist, or is no table.
    """
    found = []
    for name in names:
        text = await connection.fetchval(
            _QUERY.format(table=literal(name.sql), column=literal(column))
        )
        if text is None:
            raise ConfigError(f"adoption.{name}", "there is no such table", "Name a table.")
        found.append(_table(name, json.loads(text)))
    return found


def _table(name: TableName, raw: dict[str, Any]) -> FoundTable:
    keys = [{**item, "columns": tuple(item["columns"])} for item in raw["keys"]]
    return FoundTable(
        name=name,
        kind=raw["kind"],
        owner=raw["owner"],
        column=None if raw["type"] is None else (raw["type"], raw["not_null"]),
        default=raw["default"] or "",
        grants=tuple((who, what, bool(on)) for who, what, on in raw["grants"]),
        secured=(raw["enabled"], raw["forced"]),
        policies=tuple(raw["policies"]),
        leaves=tuple(TableName(*pair).sql for pair in raw["leaves"]),
        keys=tuple(FoundKey(**item) for item in keys),
        foreign_keys=tuple(_foreign_key(item) for item in raw["foreign_keys"]),
    )


def _foreign_key(raw: dict[str, Any]) -> FoundForeignKey:
    lists = {name: tuple(raw[name]) for name in ("columns", "target_columns", "clears")}
    return FoundForeignKey(**{**raw, **lists, "target": TableName(*raw["target"])})


def columns_sql(columns: tuple[str, ...]) -> str:
    """Return a list of columns as SQL."""
    return ", ".join(identifier(column) for column in columns)


_DEFERRAL = """(CASE WHEN k.condeferrable THEN ' DEFERRABLE' ELSE '' END
                || CASE WHEN k.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END)"""
_ACTION = """CASE {0} WHEN 'a' THEN '' WHEN 'r' THEN 'RESTRICT' WHEN 'c' THEN 'CASCADE'
                WHEN 'n' THEN 'SET NULL' ELSE 'SET DEFAULT' END"""
_NAMES = """ARRAY (SELECT a.attname
                FROM pg_catalog.unnest({numbers}) WITH ORDINALITY AS u (n, place)
                JOIN pg_catalog.pg_attribute a ON a.attrelid = {table} AND a.attnum = u.n
                ORDER BY u.place)"""
_MINE = _NAMES.format(numbers="k.conkey", table="k.conrelid")
_THEIRS = _NAMES.format(numbers="k.confkey", table="k.confrelid")
_CLEARED = _NAMES.format(
    numbers="COALESCE(NULLIF(k.confdelsetcols, '{{}}'), k.conkey)", table="k.conrelid"
)

_QUERY = f"""\
SELECT pg_catalog.json_build_object('kind', c.relkind,
    'owner', pg_catalog.pg_get_userbyid(c.relowner),
    'enabled', c.relrowsecurity, 'forced', c.relforcerowsecurity,
    'type', pg_catalog.format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull,
    'default', pg_catalog.pg_get_expr(d.adbin, d.adrelid),
    'policies', ARRAY (SELECT polname FROM pg_catalog.pg_policy WHERE polrelid = c.oid),
    'grants', ARRAY (SELECT ARRAY[COALESCE(r.rolname, ''), g.privilege_type,
            CASE WHEN g.is_grantable THEN 'yes' ELSE '' END]
        FROM pg_catalog.aclexplode(c.relacl) g LEFT JOIN pg_catalog.pg_roles r ON r.oid = g.grantee
        WHERE g.grantee <> c.relowner),
    'leaves', ARRAY (SELECT ARRAY[n.nspname, l.relname]
        FROM (SELECT c.oid AS relid WHERE c.relkind = 'r' UNION
            SELECT t.relid FROM pg_catalog.pg_partition_tree(c.oid) t WHERE t.isleaf) AS x
        JOIN pg_catalog.pg_class l ON l.oid = x.relid AND l.relkind = 'r'
        JOIN pg_catalog.pg_namespace n ON n.oid = l.relnamespace ORDER BY 1),
    'keys', (SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
            'index', ic.relname, 'constraint', COALESCE(k.conname, ''),
            'kind', COALESCE(k.contype::text, ''), 'unique', i.indisunique,
            'plain', i.indpred IS NULL AND i.indexprs IS NULL AND am.amname = 'btree'
                AND i.indisvalid AND i.indnkeyatts = i.indnatts,
            'deferral', COALESCE({_DEFERRAL}, ''),
            'columns', ARRAY (SELECT b.attname FROM pg_catalog.unnest(i.indkey::int2[])
                WITH ORDINALITY AS u (n, place) LEFT JOIN pg_catalog.pg_attribute b
                ON b.attrelid = i.indrelid AND b.attnum = u.n AND u.n > 0 ORDER BY u.place))
            ORDER BY ic.relname), '[]')
        FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
        JOIN pg_catalog.pg_am am ON am.oid = ic.relam
        LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = i.indexrelid
            AND k.conrelid = c.oid AND k.contype IN ('p', 'u', 'x')
        WHERE i.indrelid = c.oid),
    'foreign_keys', (SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', k.conname, 'columns', {_MINE},
            'target', ARRAY[tn.nspname, t.relname], 'target_columns', {_THEIRS},
            'definition', pg_catalog.regexp_replace(
                pg_catalog.pg_get_constraintdef(k.oid), ' NOT VALID$', ''),
            'on_update', {_ACTION.format("k.confupdtype")},
            'on_delete', {_ACTION.format("k.confdeltype")},
            'clears', CASE WHEN k.confdeltype IN ('n', 'd') THEN {_CLEARED}
                ELSE ARRAY[]::name[] END,
            'deferral', {_DEFERRAL}) ORDER BY k.conname), '[]')
        FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class t ON t.oid = k.confrelid
        JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
        WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.conparentid = 0))::text
FROM pg_catalog.pg_class c
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = {{column}}
    AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.oid = pg_catalog.to_regclass({{table}}) AND c.relkind IN ('r', 'p')"""
