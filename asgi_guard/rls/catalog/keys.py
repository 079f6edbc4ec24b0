"""Checks of keys and indexes: the tenant leads, and no key tells or reaches across tenants."""

from __future__ import annotations

import re
from collections.abc import Iterator

from asgi_guard.rls.catalog.facts import ForeignKey
from asgi_guard.rls.catalog.finding import Finding, make, script
from asgi_guard.rls.catalog.scope import AuditScope
from asgi_guard.rls.catalog.snapshot import Index, Relation
from asgi_guard.rls.ddl.names import TableName, identifier
from asgi_guard.rls.ddl.tables import index_statement

__all__ = ["foreign_keys", "leading_indexes", "unique_keys"]


def leading_indexes(scope: AuditScope) -> Iterator[Finding]:
    """A whole B-tree index begins with the tenant."""
    variables = scope.inventory.variables
    for relation in scope.concerning:
        if not relation.has_column or relation.kind not in "rp":
            continue
        if any(_leads(index, variables.column) for index in relation.indexes):
            continue
        statement = index_statement(relation.name, variables)
        taken = f"ix_{relation.name.name[:50]}_tenant"
        if any(index.name == taken for index in relation.indexes):
            statement = statement.replace(identifier(taken), identifier(f"{taken}_first"))
        yield make(
            "index_missing",
            relation.name,
            "Each statement of one tenant reads every tenant's rows, and its duration tells how "
            "many these are.",
            f"{statement};",
        )


def unique_keys(scope: AuditScope) -> Iterator[Finding]:
    """Every unique or exclusion key holds the tenant, compared exactly."""
    column = scope.inventory.variables.column
    for relation in (*scope.concerning, *scope.children()):
        if not relation.has_column:
            continue
        for index in relation.indexes:
            if index.inherited or not (index.unique or index.exclusion):
                continue
            if column not in index.columns:
                code = "exclusion_without_tenant" if index.exclusion else "unique_without_tenant"
                why = "one tenant's insert fails on another's row, and so tells it is there."
            elif not index.sound[index.columns.index(column)]:
                code, why = "unique_loose", f"{column} is compared with something else than `=`."
            else:
                continue
            named = index.constraint or index.name
            yield make(
                code,
                f"{relation.name}.{named}",
                f"The key {named} of {relation.name}: {why}",
                script(_rebuilt(scope, relation, index)),
                severity="warning" if relation.name in scope.inventory.global_keys else None,
            )


def foreign_keys(scope: AuditScope) -> Iterator[Finding]:
    """Every foreign key between guarded tables carries the tenant, and is checked."""
    guarded = {relation.name for relation in (*scope.concerning, *scope.children())}
    column = scope.inventory.variables.column
    for key in scope.snapshot.foreign_keys:
        if key.table not in guarded and key.target not in guarded:
            continue
        named = f"{key.table}.{key.name}"
        lenient = key.table in scope.inventory.global_keys
        if _crosses(scope, key, guarded):
            yield make(
                "foreign_key_without_tenant",
                named,
                f"A row of {key.table} may refer to another tenant's row of {key.target}, which "
                "tells that it is there, and is changed with it.",
                script(_with_tenant(scope, key)),
                severity="warning" if lenient else None,
            )
        elif column in key.clears and key.table in guarded:
            yield make(
                "foreign_key_clears_tenant",
                named,
                f"Deleting a row of {key.target} clears or resets {column} of {key.table}.",
                script(_with_tenant(scope, key)),
                severity="warning" if lenient else None,
            )
        if not key.enforced or not key.validated:
            yield _unchecked(key, named)


def _leads(index: Index, column: str) -> bool:
    whole = index.valid and not index.partial and index.method == "btree"
    return whole and index.columns[0] == column and index.sound[0]


def _crosses(scope: AuditScope, key: ForeignKey, guarded: set[TableName]) -> bool:
    column = scope.inventory.variables.column
    if key.target in guarded:
        return (column, column) not in zip(key.columns, key.target_columns, strict=True)
    if key.target in scope.inventory.system_only:
        return column not in key.columns
    return False  # reference data; an undeclared table that the app reaches is found apart


def _rebuilt(scope: AuditScope, relation: Relation, index: Index) -> list[str]:
    """Put the tenant in front of a key, and into the foreign keys that stand on it."""
    table = relation.name.sql
    definition = _with_column(index, identifier(scope.inventory.variables.column))
    statements = []
    if index.exclusion and index.method == "gist":
        statements.append("CREATE EXTENSION IF NOT EXISTS btree_gist")
    if index.constraint is None:
        place = f"{identifier(index.schema)}.{identifier(index.name)}"
        return [*statements, f"DROP INDEX {place}", definition]
    name = identifier(index.constraint)
    statements += [
        f"ALTER TABLE {table} DROP CONSTRAINT {name} CASCADE",
        f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}",
    ]
    for key in scope.snapshot.foreign_keys:
        if key.target == relation.name and set(key.target_columns) == set(index.columns):
            statements += _with_tenant(scope, key)
    return statements


def _with_column(index: Index, column: str) -> str:
    if index.exclusion:
        bare = re.sub(
            rf"(?<=[(\s]){re.escape(column)} WITH [^,)]+(, )?", "", index.definition, count=1
        )
        return bare.replace("(", f"({column} WITH =, ", 1)
    head, opening, rest = index.definition.partition("(")
    if index.constraint is None:  # CREATE UNIQUE INDEX name ON table USING method (…
        head, opening, rest = re.split(r"(?<=USING btree )(\()", index.definition, maxsplit=1)
    # Where it stands already, compared loosely, it moves to the front and loses that.
    own = rf'(?<![\w"(]){re.escape(column)}(?: [^,)]*)?(?:, |(?=\)))'
    rest = re.sub(own, "", rest, count=1)
    return re.sub(r", \)", ")", f"{head}{opening}{column}, {rest}", count=1)


def _with_tenant(scope: AuditScope, key: ForeignKey) -> list[str]:
    """Make a foreign key anew, the tenant first on both sides."""
    column = scope.inventory.variables.column
    name, table = identifier(key.name), key.table.sql
    source = scope.snapshot.relations.get(key.table)
    drop = f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}"
    if source is None or not source.has_column:
        return [drop]  # whose row it is cannot be told: such a table may refer to no tenant's
    rest = [
        pair for pair in zip(key.columns, key.target_columns, strict=True) if column not in pair
    ]
    mine = ", ".join(identifier(one) for one in (column, *(own for own, _ in rest)))
    theirs = ", ".join(identifier(one) for one in (column, *(other for _, other in rest)))
    tail = re.sub(r"^FOREIGN KEY \(.*?\) REFERENCES .+?\(.*?\)", "", key.definition)
    if key.clears:
        kept = ", ".join(identifier(own) for own, _ in rest)
        tail = re.sub(
            r"ON DELETE SET (NULL|DEFAULT)( \([^)]*\))?", rf"ON DELETE SET \1 ({kept})", tail
        )
    tail = tail.replace(" NOT VALID", "").replace(" NOT ENFORCED", "")
    target = f"{key.target.sql} ({theirs})"
    return [
        drop,
        f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({mine}) REFERENCES {target}{tail}",
    ]


def _unchecked(key: ForeignKey, named: str) -> Finding:
    table, name = key.table.sql, identifier(key.name)
    definition = key.definition.replace(" NOT VALID", "").replace(" NOT ENFORCED", "")
    remedy = [f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}"]
    if not key.enforced:
        remedy = [
            f"ALTER TABLE {table} ENABLE TRIGGER ALL",
            f"ALTER TABLE {key.target.sql} ENABLE TRIGGER ALL",
            f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}",
            f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}",
        ]
    return make(
        "foreign_key_unchecked",
        named,
        f"It is written and not, or not for all rows, checked: {key.table} may refer anywhere.",
        script(remedy),
    )
