"""Steps that put the tenant into keys: built beside the old ones, then swapped."""

from __future__ import annotations

from collections.abc import Iterator

from asgi_guard.errors import ConfigError
from asgi_guard.rls.adoption.filling import short
from asgi_guard.rls.adoption.reading import FoundForeignKey, FoundKey, FoundTable, columns_sql
from asgi_guard.rls.adoption.steps import Action, Check, Step
from asgi_guard.rls.ddl.names import TableName, identifier

__all__ = ["key_steps", "swap_steps"]


def key_steps(tables: list[FoundTable], column: str) -> Iterator[Step]:
    """Build what carries the tenant: unique indexes first, then the foreign keys that need them.

    Raises:
        ConfigError: A key must be changed by hand: of a partitioned table, over an expression.
    """
    for table in tables:
        old = list(_without_tenant(table, column))
        for key in old:
            yield _build(table, _new_index(table.name, key), _with(column, key.columns), "UNIQUE ")
        leads = any(key.plain and key.columns[:1] == (column,) for key in table.keys)
        if not old and not leads and table.kind == "r":
            yield _build(table, f"ix_{table.name.name[:50]}_tenant", (column,), "")
    for table, foreign in _crossing(tables, column):
        yield from _refer(table, foreign, column)


def swap_steps(tables: list[FoundTable], column: str) -> Iterator[Step]:
    """Put the new keys into the old ones' places; yesterday's ON CONFLICT (id) ends here."""
    crossing = list(_crossing(tables, column))
    for table in tables:
        for key in _without_tenant(table, column):
            pointing = [
                (child, foreign)
                for child, foreign in crossing
                if foreign.target == table.name and set(foreign.target_columns) == set(key.columns)
            ]
            yield _swap(table, key, pointing, column)


def _without_tenant(table: FoundTable, column: str) -> Iterator[FoundKey]:
    for key in table.keys:
        if not key.unique or column in key.columns:
            continue
        if not key.plain or table.kind == "p" or key.kind == "x":
            raise ConfigError(
                f"adoption.{table.name}",
                f"the unique key {key.index} is partial, over an expression, or of a partitioned "
                "table",
                f"Change it by hand so that it has {column!r}, and plan again.",
            )
        yield key


def _crossing(
    tables: list[FoundTable], column: str
) -> Iterator[tuple[FoundTable, FoundForeignKey]]:
    """Give each foreign key between adopted tables that lacks the tenant."""
    adopted = {table.name for table in tables}
    for table in tables:
        for key in table.foreign_keys:
            if key.target in adopted and column not in key.columns:
                yield table, key


def _with(column: str, columns: tuple[str | None, ...]) -> tuple[str, ...]:
    return (column, *(name for name in columns if name is not None))


def _new_index(table: TableName, key: FoundKey) -> str:
    return f"asgi_guard_key_{short(*table, key.index)}"


def _new_foreign(table: TableName, key: FoundForeignKey) -> str:
    return f"asgi_guard_fk_{short(*table, key.name)}"


def _build(table: FoundTable, index: str, columns: tuple[str, ...], unique: str) -> Step:
    schema = identifier(table.name.schema)
    return Step(
        "keys",
        str(table.name),
        f"build the {unique.lower()}index ({', '.join(columns)})",
        (_concurrently(table.name, index, columns, unique),),
        (Action((f"DROP INDEX CONCURRENTLY IF EXISTS {schema}.{identifier(index)}",), alone=True),),
    )


def _concurrently(table: TableName, index: str, columns: tuple[str, ...], unique: str) -> Action:
    build = (
        f"CREATE {unique}INDEX CONCURRENTLY IF NOT EXISTS {identifier(index)} "
        f"ON {table.sql} ({columns_sql(columns)})"
    )
    return Action((build,), alone=True, index=f"{identifier(table.schema)}.{identifier(index)}")


def _composite(table: FoundTable, key: FoundForeignKey, column: str) -> str:
    """Add the foreign key that carries the tenant, unchecked for the rows that are there."""
    words = [
        f"ALTER TABLE {table.name.sql} ADD CONSTRAINT {identifier(_new_foreign(table.name, key))}",
        f"FOREIGN KEY ({columns_sql((column, *key.columns))})",
        f"REFERENCES {key.target.sql} ({columns_sql((column, *key.target_columns))})",
    ]
    if key.on_update:
        words.append(f"ON UPDATE {key.on_update}")
    if key.on_delete:
        clears = f" ({columns_sql(key.clears)})" if key.clears else ""
        words.append(f"ON DELETE {key.on_delete}{clears}")
    return f"{' '.join(words)}{key.deferral} NOT VALID"


def _refer(table: FoundTable, key: FoundForeignKey, column: str) -> Iterator[Step]:
    name, fresh = table.name.sql, identifier(_new_foreign(table.name, key))
    lock = _locked([key.target, table.name])
    drop = f"ALTER TABLE {name} DROP CONSTRAINT IF EXISTS {fresh}"
    add = _composite(table, key, column)
    joined = " AND ".join(
        f"p.{identifier(theirs)} = c.{identifier(mine)}"
        for mine, theirs in zip(key.columns, key.target_columns, strict=True)
    )
    crossing = Check(
        f"SELECT count(*) FROM {name} c JOIN {key.target.sql} p ON {joined} "
        f"WHERE p.{identifier(column)} <> c.{identifier(column)}",
        f"rows refer to another tenant's row through {key.name}. Mend them, and run again",
    )
    yield Step(
        "keys",
        str(table.name),
        f"add the foreign key ({', '.join((column, *key.columns))})",
        (Action((lock, drop, add)),),
        (Action((lock, drop)),),
        (crossing,),
    )
    yield Step(
        "keys",
        str(table.name),
        f"check the foreign key ({', '.join((column, *key.columns))})",
        (Action((f"ALTER TABLE {name} VALIDATE CONSTRAINT {fresh}",), alone=True),),
    )


def _locked(tables: list[TableName]) -> str:
    """Lock parents before children, as writers do: the other way round is a deadlock."""
    listed = ", ".join(dict.fromkeys(table.sql for table in tables))
    return f"LOCK TABLE {listed} IN ACCESS EXCLUSIVE MODE"


def _swap(
    table: FoundTable,
    key: FoundKey,
    pointing: list[tuple[FoundTable, FoundForeignKey]],
    column: str,
) -> Step:
    name, schema = table.name.sql, identifier(table.name.schema)
    new = _new_index(table.name, key)
    old, fresh = identifier(key.index), identifier(new)
    spare = f"asgi_guard_old_{short(*table.name, key.index)}"
    columns = tuple(item for item in key.columns if item is not None)
    if key.kind:
        word = "PRIMARY KEY" if key.kind == "p" else "UNIQUE"
        constraint = identifier(key.constraint)
        drop = f"ALTER TABLE {name} DROP CONSTRAINT {constraint}"
        take = f"ALTER TABLE {name} ADD CONSTRAINT {constraint} {word} USING INDEX "
        forward = [drop, f"{take}{fresh}{key.deferral}"]
        restore = [drop, f"{take}{identifier(spare)}{key.deferral}"]
    else:
        forward = [f"DROP INDEX {schema}.{old}", f"ALTER INDEX {schema}.{fresh} RENAME TO {old}"]
        restore = [
            f"DROP INDEX {schema}.{old}",
            f"ALTER INDEX {schema}.{identifier(spare)} RENAME TO {old}",
        ]
    lock = _locked([table.name, *(child.name for child, _ in pointing)])
    # Old and new foreign keys overlap, there and back: no row is ever written unchecked.
    forgotten = [
        f"ALTER TABLE {child.name.sql} DROP CONSTRAINT IF EXISTS {identifier(foreign.name)}"
        for child, foreign in pointing
    ]
    loosened = [
        f"ALTER TABLE {child.name.sql} DROP CONSTRAINT IF EXISTS "
        f"{identifier(_new_foreign(child.name, foreign))}"
        for child, foreign in pointing
    ]
    again = [
        f"ALTER TABLE {child.name.sql} ADD CONSTRAINT {identifier(foreign.name)} "
        f"{foreign.definition} NOT VALID"
        for child, foreign in pointing
    ]
    beside = [_composite(child, foreign, column) for child, foreign in pointing]
    valid = [
        f"ALTER TABLE {child.name.sql} VALIDATE CONSTRAINT {identifier(named)}"
        for child, foreign in pointing
        for named in (foreign.name, _new_foreign(child.name, foreign))
    ]
    return Step(
        "swap",
        str(table.name),
        f"replace the key {key.constraint or key.index} by ({column}, {', '.join(columns)})",
        (Action((lock, *forgotten, *forward)),),
        (
            _concurrently(table.name, spare, columns, "UNIQUE "),
            Action((lock, *loosened, *restore, *again)),
            # What the stage before had built went with the key: build it beside again.
            _concurrently(table.name, new, _with(column, columns), "UNIQUE "),
            *((Action((lock, *beside)), Action(tuple(valid), alone=True)) if pointing else ()),
        ),
    )
