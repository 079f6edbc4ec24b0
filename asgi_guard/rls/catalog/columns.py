"""Checks of the tenant column: there, filled, and compared exactly."""

from __future__ import annotations

import re
from collections.abc import Iterator

from asgi_guard.rls.catalog.finding import Finding, make, script
from asgi_guard.rls.catalog.scope import AuditScope
from asgi_guard.rls.catalog.snapshot import Relation, TenantColumn
from asgi_guard.rls.ddl.functions import current_tenant
from asgi_guard.rls.ddl.names import identifier
from asgi_guard.rls.ddl.tables import index_statement, policy_statements
from asgi_guard.rls.variables import RLSVariables

__all__ = ["columns", "missing", "shared"]


def missing(scope: AuditScope) -> Iterator[Finding]:
    """Every table declared as guarded is there, with the tenant column."""
    variables = scope.inventory.variables
    column = identifier(variables.column)
    for name in (*scope.inventory.guarded, *scope.inventory.system_only):
        if name not in scope.snapshot.relations:
            yield make(
                "table_missing",
                name,
                "It was declared and is not in this database: a migration was not run, or what is "
                "in its place was not declared.",
                f"-- Create {name.sql}, then run the script of tenant_policies again.",
            )
    for relation in scope.present(scope.inventory.guarded):
        if relation.has_column:
            continue
        yield make(
            "tenant_column_missing",
            relation.name,
            f"It has no column {variables.column}, so nothing tells whose its rows are.",
            f"ALTER TABLE {relation.name.sql} ADD COLUMN {column} "
            f"{variables.tenant_id.sql_type} NOT NULL DEFAULT {current_tenant(variables)};\n"
            "-- This fails while there are rows: add it nullable, fill it, then SET NOT NULL.\n"
            f"{index_statement(relation.name, variables)};",
        )


def columns(scope: AuditScope) -> Iterator[Finding]:
    """The tenant column is never empty, of the id's own type, and filled by the database."""
    variables = scope.inventory.variables
    for relation in scope.concerning:
        if relation.tenant is None or relation.kind not in "rp":
            continue
        yield from _judge(scope, relation, relation.tenant, variables)


def shared(scope: AuditScope) -> Iterator[Finding]:
    """Reference data has no tenant column; a table that has one was perhaps misfiled."""
    column = scope.inventory.variables.column
    for relation in scope.present(scope.inventory.shared):
        if relation.has_column:
            yield make(
                "shared_has_tenant",
                relation.name,
                f"It is declared as shared, every tenant reads all of it, and it has a {column}.",
                "-- Take it out of shared=[…], or drop the column:\n"
                f"ALTER TABLE {relation.name.sql} DROP COLUMN {identifier(column)};",
            )


def _judge(
    scope: AuditScope, relation: Relation, found: TenantColumn, variables: RLSVariables
) -> Iterator[Finding]:
    table, column = relation.name.sql, identifier(variables.column)
    alter = f"ALTER TABLE {table} ALTER COLUMN {column}"
    severity = scope.severity(relation)
    if not found.not_null:
        yield make(
            "tenant_column_nullable",
            relation.name,
            "A row without a tenant belongs to nobody, and its foreign keys are not checked "
            "(MATCH SIMPLE).",
            f"{alter} SET NOT NULL;\n-- This fails while such rows are there: fill them first.",
            severity=severity,
        )
    if found.generated:
        yield make(
            "tenant_column_generated",
            relation.name,
            "Whose a row is follows from its other columns, which the app writes.",
            f"{alter} DROP EXPRESSION;\n{alter} SET DEFAULT {current_tenant(variables)};",
            severity=severity,
        )
    elif found.default not in _defaults(variables):
        yield make(
            "tenant_column_default",
            relation.name,
            "An insert that names no tenant is refused, or is another's: the column's default is "
            f"{'missing' if found.default is None else 'not the bound tenant'}.",
            f"{alter} SET DEFAULT {current_tenant(variables)};",
        )
    if found.domain or not _fits(found.type, variables):
        yield _retyped("tenant_column_type", relation, variables, f"It is {found.type}")
    elif not found.deterministic:
        why = "Its collation is nondeterministic"
        yield _retyped("tenant_column_collation", relation, variables, why)


def _defaults(variables: RLSVariables) -> frozenset[str | None]:
    call = current_tenant(variables)
    spelled = ("current_tenant()", call)
    casts = ("", "::text", "::character varying")
    plain = {f"{one}{cast}" for one in spelled for cast in casts}
    return frozenset(plain | {f"({one}){cast}" for one in spelled for cast in casts})


def _fits(spelled: str, variables: RLSVariables) -> bool:
    wanted = variables.tenant_id.sql_type
    if wanted == "text":
        return re.fullmatch(r"text|character varying(\(\d+\))?", spelled) is not None
    if wanted in {"bigint", "integer"}:
        return spelled in {"bigint", "integer"}
    return spelled == wanted


def _retyped(code: str, relation: Relation, variables: RLSVariables, why: str) -> Finding:
    table, column = relation.name.sql, identifier(variables.column)
    wanted = variables.tenant_id.sql_type
    using = f"USING {column}::text::{wanted}"
    collation = ' COLLATE "default"' if wanted == "text" else ""
    statements = [
        # A column that a policy names cannot change its type.
        *(f"DROP POLICY {identifier(policy.name)} ON {table}" for policy in relation.policies),
        f"ALTER TABLE {table} ALTER COLUMN {column} DROP DEFAULT",
        f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {wanted}{collation} {using}",
        f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT {current_tenant(variables)}",
        *policy_statements(table, variables),
    ]
    return make(
        code,
        relation.name,
        f"{why}, and tenant ids are {wanted}: two ids that differ may be equal there.",
        script(statements),
    )
