"""Checks of views and rules: they act with their owner's eyes, and materialized ones with none."""

from __future__ import annotations

from collections.abc import Iterator

from asgi_guard.rls.catalog.finding import Finding, make, script
from asgi_guard.rls.catalog.scope import AuditScope
from asgi_guard.rls.catalog.snapshot import Relation
from asgi_guard.rls.ddl.names import TableName, identifier

__all__ = ["rules", "views"]


def views(scope: AuditScope) -> Iterator[Finding]:
    """Every view over guarded tables that the app can read asks as the app."""
    protected = {relation.name for relation in (*scope.guarded, *scope.children())}
    protected |= set(scope.inventory.system_only)
    for relation in scope.snapshot.relations.values():
        if relation.kind not in "vm" or not relation.privileges or relation.extension:
            continue
        if relation.secrets and not relation.invoker:
            yield _secret(scope, relation)
        if relation.invoker or not _reads(scope, relation.name, protected):
            continue
        yield _definer(relation) if relation.kind == "v" else _materialized(scope, relation)


def rules(scope: AuditScope) -> Iterator[Finding]:
    """No rule rewrites what the app sends: its actions run with the rights of the table's owner."""
    for relation in scope.snapshot.relations.values():
        if not relation.privileges or relation.extension:
            continue
        for rule in relation.rules:
            yield make(
                "rule_unexpected",
                f"{relation.name}.{rule}",
                f"Statements on {relation.name} are rewritten, and what they become runs with the "
                f"rights of {relation.owner} (CREATE RULE, Notes).",
                f"DROP RULE {identifier(rule)} ON {relation.name.sql};",
            )


def _reads(scope: AuditScope, view: TableName, protected: set[TableName]) -> bool:
    seen: set[TableName] = set()
    waiting = [view]
    while waiting:
        name = waiting.pop()
        relation = scope.snapshot.relations.get(name)
        if relation is None or name in seen:
            continue
        seen.add(name)
        if protected.intersection(relation.reads):
            return True
        waiting += relation.reads
    return False


def _definer(relation: Relation) -> Finding:
    return make(
        "view_definer",
        relation.name,
        f"It reads guarded tables as its owner {relation.owner}, whose policies are not the app's.",
        f"ALTER VIEW {relation.name.sql} SET (security_invoker = true);",
    )


def _materialized(scope: AuditScope, relation: Relation) -> Finding:
    return make(
        "view_materialized",
        relation.name,
        "It stores rows of every tenant, and no policy can be put on it.",
        script(_withdrawn(scope, relation)),
    )


def _secret(scope: AuditScope, relation: Relation) -> Finding:
    return make(
        "view_exposes_catalog",
        relation.name,
        f"It reads {', '.join(relation.secrets)} as its owner {relation.owner}: statistics and "
        "large objects hold other tenants' values, the roles' table their passwords.",
        script(_withdrawn(scope, relation)),
    )


def _withdrawn(scope: AuditScope, relation: Relation) -> list[str]:
    kind = "MATERIALIZED VIEW" if relation.kind == "m" else "VIEW"
    statements = []
    if relation.owner in scope.reachable:
        owner = identifier(scope.inventory.variables.owner_role)
        statements.append(f"ALTER {kind} {relation.name.sql} OWNER TO {owner}")
    grantees = scope.grantees((*(who for who, _, _ in relation.grants), *scope.selves))
    return [*statements, f"REVOKE ALL ON TABLE {relation.name.sql} FROM {grantees}"]
