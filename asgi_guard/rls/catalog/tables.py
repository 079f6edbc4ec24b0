"""Checks of tables: who owns them, whether policies are switched on, and who else was granted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from asgi_guard.rls.catalog.finding import Finding
from asgi_guard.rls.catalog.scope import AuditScope
from asgi_guard.rls.catalog.snapshot import Relation
from asgi_guard.rls.ddl.functions import current_tenant, helper_statements
from asgi_guard.rls.ddl.names import identifier
from asgi_guard.rls.ddl.partitions import child_statements
from asgi_guard.rls.ddl.tables import sequence_statement

__all__ = ["columns", "grants", "helper", "owners", "parents", "partitions", "switches"]

_ROWS: Final = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})
_NOTHING: Final[frozenset[str]] = frozenset()


def helper(scope: AuditScope) -> Iterator[Finding]:
    """The function that every policy asks is there, and not the app's to replace."""
    variables, owner = scope.inventory.variables, scope.snapshot.helper_owner
    if owner in scope.selves:
        yield Finding(
            code="helper_owned",
            object=current_tenant(variables),
            severity="error",
            why=f"The app's role {owner} owns the function that policies ask for the tenant, so "
            "one injected CREATE OR REPLACE answers for it.",
            remedy_sql=_script(helper_statements(variables)),
        )
    if owner is not None:
        return
    # DROP FUNCTION … CASCADE took the columns' defaults along, and its policies (found apart).
    defaults = [
        f"ALTER TABLE {relation.name.sql} ALTER COLUMN {identifier(variables.column)} "
        f"SET DEFAULT {current_tenant(variables)}"
        for relation in scope.guarded
        if relation.has_column
    ]
    yield Finding(
        code="helper_missing",
        object=current_tenant(variables),
        severity="error",
        why="The function that policies ask for the tenant does not exist.",
        remedy_sql=_script([*helper_statements(variables), *defaults]),
    )


def owners(scope: AuditScope) -> Iterator[Finding]:
    """The app's role owns no table: an owner switches policies off."""
    inventory, variables = scope.inventory, scope.inventory.variables
    owner, runtime = identifier(variables.owner_role), identifier(variables.runtime_role)
    shared = set(inventory.shared)
    children = {relation.name for relation in scope.children()}
    declared = scope.present((*inventory.shared, *inventory.system_only))
    for relation in (*scope.guarded, *scope.children(), *declared):
        if relation.owner not in scope.selves:
            continue
        table = relation.name.sql
        statements = [
            f"GRANT USAGE ON SCHEMA {identifier(relation.name.schema)} TO {owner}",
            f"ALTER TABLE {table} OWNER TO {owner}",
        ]
        if relation.name not in {*children, *inventory.system_only}:
            # What an owner may do without a grant is lost with the ownership.
            rights = "SELECT" if relation.name in shared else "SELECT, INSERT, UPDATE, DELETE"
            statements.append(f"GRANT {rights} ON TABLE {table} TO {runtime}")
            statements.append(sequence_statement((relation.name,), variables))
        yield Finding(
            code="table_owned",
            object=str(relation.name),
            severity="error",
            why=f"The app's role {relation.owner} owns it, so one injected ALTER TABLE switches "
            "its policies off.",
            remedy_sql=_script(statements),
        )


def columns(scope: AuditScope) -> Iterator[Finding]:
    """Every table declared as guarded has the tenant column."""
    variables = scope.inventory.variables
    column = identifier(variables.column)
    for relation in scope.present(scope.inventory.guarded):
        if relation.has_column:
            continue
        yield Finding(
            code="tenant_column_missing",
            object=str(relation.name),
            severity="error",
            why=f"It has no column {variables.column}, so nothing tells whose its rows are.",
            remedy_sql=f"ALTER TABLE {relation.name.sql} ADD COLUMN {column} "
            f"{variables.tenant_id.sql_type} NOT NULL DEFAULT {current_tenant(variables)};\n"
            "-- This fails while there are rows: add it nullable, fill it, then SET NOT NULL.",
        )


def switches(scope: AuditScope) -> Iterator[Finding]:
    """Row-level security is enabled, and forced upon the owner as well."""
    for relation in scope.guarded:
        table = relation.name.sql
        if not relation.enabled:
            yield Finding(
                code="rls_disabled",
                object=str(relation.name),
                severity=scope.severity(relation),
                why="Row-level security is off: policies exist on paper, every row is visible.",
                remedy_sql=f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;",
            )
        if not relation.forced:
            yield Finding(
                code="rls_not_forced",
                object=str(relation.name),
                severity=scope.severity(relation),
                why="Its owner, and a definer view or function of its owner, see every row.",
                remedy_sql=f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY;",
            )


def partitions(scope: AuditScope) -> Iterator[Finding]:
    """A child that can be named directly has policies of its own.

    One that nobody was granted is told as a warning: it is reached through its parent only, and
    a nightly job that adds a partition must not keep the app from starting.
    """
    variables = scope.inventory.variables
    for relation in scope.children():
        if relation.enabled and relation.forced:
            continue
        table = relation.name.sql
        statements = child_statements(table, variables)
        if relation.kind == "f":  # foreign tables take no policies
            statements = [f"REVOKE ALL ON TABLE {table} FROM PUBLIC, {', '.join(_apps(scope))}"]
        elif relation.kind not in "rp":
            continue
        yield Finding(
            code="partition_unprotected",
            object=str(relation.name),
            severity="error" if relation.privileges else "warning",
            why="Named directly, it is read without its parent's policies, and has none.",
            remedy_sql=_script(statements),
        )


def parents(scope: AuditScope) -> Iterator[Finding]:
    """No guarded table is read through an inheritance parent that asks other policies, or none."""
    below = [*scope.guarded, *scope.children()]
    protected = {relation.name for relation in below}
    for relation in below:
        for parent in scope.present(relation.parents):
            if parent.name in protected or parent.kind != "r" or not parent.privileges:
                continue
            yield Finding(
                code="parent_unprotected",
                object=str(parent.name),
                severity="error",
                why=f"A statement on it reads {relation.name} as well, past that table's policies.",
                remedy_sql=f"ALTER TABLE {relation.name.sql} NO INHERIT {parent.name.sql};",
            )


def grants(scope: AuditScope) -> Iterator[Finding]:
    """The app's role was granted what its kind of table allows, and no more."""
    inventory = scope.inventory
    allowed = [
        *((relation, _ROWS) for relation in scope.guarded),
        *((relation, frozenset({"SELECT"})) for relation in scope.present(inventory.shared)),
        *((relation, _NOTHING) for relation in scope.present(inventory.system_only)),
    ]
    for relation, rights in allowed:
        excess = [(who, what) for who, what in relation.grants if what not in rights]
        if excess:
            yield _excess(relation, excess)


def _excess(relation: Relation, excess: list[tuple[str, str]]) -> Finding:
    by_grantee: dict[str, list[str]] = {}
    for grantee, privilege in excess:
        by_grantee.setdefault(grantee, []).append(privilege)
    listed = ", ".join(sorted({privilege for _, privilege in excess}))
    return Finding(
        code="grant_excessive",
        object=str(relation.name),
        severity="error",
        why=f"The app's role was granted {listed}; TRUNCATE ignores policies, REFERENCES probes "
        "other tenants' keys, TRIGGER runs code, and only declared tables may be read or written.",
        remedy_sql="\n".join(
            f"REVOKE {', '.join(sorted(privileges))} ON TABLE {relation.name.sql} "
            f"FROM {identifier(grantee) if grantee else 'PUBLIC'};"
            for grantee, privileges in sorted(by_grantee.items())
        ),
    )


def _apps(scope: AuditScope) -> list[str]:
    return [identifier(role) for role in scope.selves]


def _script(statements: list[str]) -> str:
    return "\n".join(f"{statement};" for statement in statements)
