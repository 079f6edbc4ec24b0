"""Checks of views: they read with their owner's eyes, and materialized ones with nobody's."""

from __future__ import annotations

from collections.abc import Iterator

from asgi_guard.rls.catalog.finding import Finding
from asgi_guard.rls.catalog.scope import AuditScope
from asgi_guard.rls.catalog.snapshot import Relation
from asgi_guard.rls.ddl.names import TableName, identifier

__all__ = ["views"]


def views(scope: AuditScope) -> Iterator[Finding]:
    """Every view over guarded tables that the app can read asks as the app."""
    protected = {relation.name for relation in (*scope.guarded, *scope.children())}
    protected |= set(scope.inventory.system_only)
    for relation in scope.snapshot.relations.values():
        if relation.kind not in "vm" or not relation.privileges:
            continue
        if relation.invoker or not _reads(scope, relation.name, protected):
            continue
        yield _definer(relation) if relation.kind == "v" else _materialized(relation)


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
    return Finding(
        code="view_definer",
        object=str(relation.name),
        severity="error",
        why=f"It reads guarded tables as its owner {relation.owner}, whose policies are not the "
        "app's.",
        remedy_sql=f"ALTER VIEW {relation.name.sql} SET (security_invoker = true);",
    )


def _materialized(relation: Relation) -> Finding:
    grantees = sorted({identifier(who) if who else "PUBLIC" for who, _ in relation.grants})
    return Finding(
        code="view_materialized",
        object=str(relation.name),
        severity="error",
        why="It stores rows of every tenant, and no policy can be put on it.",
        remedy_sql=f"REVOKE ALL ON TABLE {relation.name.sql} FROM {', '.join(grantees)};"
        if grantees
        else f"-- Give {relation.name.sql} to another owner: the app's role owns it.",
    )
