"""Checks of what lies around tables: other servers, streams of changes, large objects."""

from __future__ import annotations

from collections.abc import Iterator

from asgi_guard.rls.catalog.facts import Publication
from asgi_guard.rls.catalog.finding import Finding, make, script
from asgi_guard.rls.catalog.scope import AuditScope
from asgi_guard.rls.ddl.names import TableName, identifier

__all__ = ["foreign", "large_objects", "publications"]


def foreign(scope: AuditScope) -> Iterator[Finding]:
    """The app reads no other server's tables, and may not make any."""
    children = {relation.name for relation in scope.children()}
    for relation in scope.snapshot.relations.values():
        if relation.kind != "f" or relation.name in children or not relation.privileges:
            continue
        statements = []
        if relation.owner in scope.selves:
            owner = identifier(scope.inventory.variables.owner_role)
            statements.append(f"ALTER FOREIGN TABLE {relation.name.sql} OWNER TO {owner}")
        grantees = scope.grantees((*(who for who, _, _ in relation.grants), *scope.selves))
        statements.append(f"REVOKE ALL ON TABLE {relation.name.sql} FROM {grantees}")
        yield make(
            "foreign_table",
            relation.name,
            "Its rows are another server's, asked for by another login: no policy here holds.",
            script(statements),
        )
    for grant in scope.snapshot.servers:
        yield make(
            "foreign_server_usable",
            grant.name,
            f"The app may use the {grant.kind.lower()}, and so reach what it reaches.",
            f"REVOKE USAGE ON {grant.kind} {identifier(grant.name)} "
            f"FROM {scope.grantees((grant.grantee,))};",
        )
    for mapping in scope.snapshot.mappings:
        who = scope.grantees((mapping.user,))
        yield make(
            "user_mapping",
            f"{mapping.server} for {who}",
            "The app has a login on another server, where its tenant is not bound.",
            f"DROP USER MAPPING FOR {who} SERVER {identifier(mapping.server)};",
        )


def publications(scope: AuditScope) -> Iterator[Finding]:
    """No publication streams guarded rows: a subscriber is held by no policy."""
    names = {relation.name for relation in (*scope.guarded, *scope.children())}
    names |= {relation.name for relation in scope.present(scope.inventory.system_only)}
    for each in scope.snapshot.publications:
        if each.everything or names.intersection(_published(scope, each)):
            yield make(
                "publication",
                each.name,
                "Whoever subscribes receives the rows of every tenant.",
                script(_narrowed(each, names)),
            )


def large_objects(scope: AuditScope) -> Iterator[Finding]:
    """The app shares no large object with itself as another tenant."""
    owner = identifier(scope.inventory.variables.owner_role)
    for number in scope.snapshot.large_objects:
        grantees = scope.grantees(("", *scope.selves))
        yield make(
            "large_object",
            number,
            "Large objects have no policies: whoever knows or guesses the number reads it, for "
            "whichever tenant.",
            f"ALTER LARGE OBJECT {number} OWNER TO {owner};\n"
            f"REVOKE ALL ON LARGE OBJECT {number} FROM {grantees};",
        )


def _published(scope: AuditScope, each: Publication) -> set[TableName]:
    parts = {name for table in each.tables for name in scope.snapshot.descendants(table)}
    return {name for name in scope.snapshot.relations if name.schema in each.schemas} | {
        *each.tables,
        *parts,
    }


def _narrowed(each: Publication, names: set[TableName]) -> list[str]:
    name = identifier(each.name)
    listed = names.intersection(each.tables)
    if each.everything or not listed or each.schemas:
        return [f"DROP PUBLICATION {name}"]
    tables = ", ".join(table.sql for table in sorted(listed))
    return [f"ALTER PUBLICATION {name} DROP TABLE {tables}"]
