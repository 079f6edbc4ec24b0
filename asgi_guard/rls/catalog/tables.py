"""Checks of tables: who owns them, whether policies are switched on, and what reads past them."""

from __future__ import annotations

from collections.abc import Iterator

from asgi_guard.rls.catalog.finding import Finding, make, script
from asgi_guard.rls.catalog.scope import AuditScope
from asgi_guard.rls.catalog.snapshot import Relation
from asgi_guard.rls.ddl.names import identifier
from asgi_guard.rls.ddl.partitions import child_statements
from asgi_guard.rls.ddl.tables import sequence_statement

__all__ = ["owners", "parents", "partitions", "switches", "undeclared"]


def owners(scope: AuditScope) -> Iterator[Finding]:
    """The app's role owns no table: an owner switches policies off."""
    inventory, variables = scope.inventory, scope.inventory.variables
    owner, runtime = identifier(variables.owner_role), identifier(variables.runtime_role)
    shared = set(inventory.shared)
    children = {relation.name for relation in scope.children()}
    declared = scope.present((*inventory.shared, *inventory.system_only))
    for relation in (*scope.concerning, *scope.children(), *declared):
        if relation.owner not in scope.selves:
            if relation.owner != variables.owner_role and relation.name not in children:
                yield _of_another(relation, owner)
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
        yield make(
            "table_owned",
            relation.name,
            f"The app's role {relation.owner} owns it, so one injected ALTER TABLE switches "
            "its policies off.",
            script(statements),
        )


def _of_another(relation: Relation, owner: str) -> Finding:
    # Grants made before stay: only what the former owner had by owning is lost.
    return make(
        "table_owner",
        relation.name,
        f"{relation.owner} owns it: what runs with its rights may switch policies off, and FORCE "
        "holds no superuser.",
        f"GRANT USAGE ON SCHEMA {identifier(relation.name.schema)} TO {owner};\n"
        f"ALTER TABLE {relation.name.sql} OWNER TO {owner};",
    )


def switches(scope: AuditScope) -> Iterator[Finding]:
    """Row-level security is enabled, and forced upon the owner as well."""
    for relation in (*scope.guarded, *scope.present(scope.inventory.system_only)):
        table = relation.name.sql
        if relation.kind not in "rp":
            continue  # a foreign table or a view has no such switch, and is found apart
        if not relation.enabled:
            yield make(
                "rls_disabled",
                relation.name,
                "Row-level security is off: policies exist on paper, every row is visible.",
                f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;",
                severity=scope.severity(relation),
            )
        if not relation.forced:
            yield make(
                "rls_not_forced",
                relation.name,
                "Its owner, and a definer view or function of its owner, see every row.",
                f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY;",
                severity=scope.severity(relation),
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
        yield make(
            "partition_unprotected",
            relation.name,
            "Named directly, it is read without its parent's policies, and has none.",
            script(statements),
            severity="error" if relation.privileges else "warning",
        )


def parents(scope: AuditScope) -> Iterator[Finding]:
    """No guarded table is read through an inheritance parent that asks other policies, or none."""
    below = [*scope.guarded, *scope.children()]
    protected = {relation.name for relation in below}
    for relation in below:
        for parent in scope.present(relation.parents):
            if parent.name in protected or parent.kind != "r" or not parent.privileges:
                continue
            yield make(
                "parent_unprotected",
                parent.name,
                f"A statement on it reads {relation.name} as well, past that table's policies.",
                f"ALTER TABLE {relation.name.sql} NO INHERIT {parent.name.sql};",
            )


def undeclared(scope: AuditScope) -> Iterator[Finding]:
    """What the app reaches was declared: a table that nobody sorted is everybody's.

    Asked only of an inventory that declares something; extensions' own tables are theirs to judge.
    """
    inventory = scope.inventory
    if not inventory.guarded:
        return
    known = {*inventory.guarded, *inventory.shared, *inventory.system_only}
    known |= {relation.name for relation in (*scope.guarded, *scope.children())}
    for relation in scope.snapshot.relations.values():
        if relation.kind not in "rp" or relation.name in known or relation.extension:
            continue
        if not relation.privileges or (relation.enabled and not relation.policies):
            continue
        grantees = scope.grantees((*(who for who, _, _ in relation.grants), *scope.selves))
        yield make(
            "table_undeclared",
            relation.name,
            f"The app may {', '.join(sorted(relation.privileges))}, and it is neither guarded by a "
            "tenant column nor declared as shared: every tenant meets the same rows.",
            f"REVOKE ALL ON TABLE {relation.name.sql} FROM {grantees};\n"
            "-- Or declare it to tenant_policies: shared=[…] for reference data.",
        )


def _apps(scope: AuditScope) -> list[str]:
    return [identifier(role) for role in scope.selves]
