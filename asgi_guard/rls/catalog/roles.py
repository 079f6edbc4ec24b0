"""Checks of the connected role: what it is, and what it can become."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from asgi_guard.rls.catalog.finding import Finding
from asgi_guard.rls.catalog.scope import AuditScope
from asgi_guard.rls.catalog.snapshot import Edge, Preset, Role
from asgi_guard.rls.ddl.names import identifier
from asgi_guard.rls.ddl.roles import missing_role_statement

__all__ = ["attributes", "memberships", "names", "presets"]

# attribute: code, keyword that takes it away, what the role is or does, and what that allows
_ATTRIBUTES: Final = {
    "superuser": ("role_superuser", "NOSUPERUSER", "is a superuser: no policy is ever asked"),
    "bypass_rls": ("role_bypasses_rls", "NOBYPASSRLS", "has BYPASSRLS: no policy is ever asked"),
    "create_role": (
        "role_creates_roles",
        "NOCREATEROLE",
        "has CREATEROLE: it can make itself a member of other roles",
    ),
    "replication": (
        "role_replicates",
        "NOREPLICATION",
        "has REPLICATION: it can stream every tenant's changes, past all policies",
    ),
}

# PostgreSQL docs, section 21.5: predefined roles that reach rows or files around the policies.
_PREDEFINED: Final = {
    "pg_execute_server_program": "runs programs on the database's host",
    "pg_read_server_files": "reads files of the database's host",
    "pg_write_server_files": "writes files on the database's host",
    "pg_read_all_data": "reads every table that has no policies",
    "pg_write_all_data": "writes every table that has no policies",
}


def names(scope: AuditScope) -> Iterator[Finding]:
    """The app connects as the role that the policies are written for, and the roles exist."""
    variables = scope.inventory.variables
    for role, login in (
        (variables.owner_role, False),
        (variables.runtime_role, True),
        (variables.system_role, True),
    ):
        if role not in scope.snapshot.roles:
            yield Finding(
                code="role_missing",
                object=role,
                severity="error" if role == variables.runtime_role else "warning",
                why="There is no such role, so no policy can be written for it.",
                remedy_sql=missing_role_statement(role, login=login) + ";",
            )
    if variables.runtime_role not in scope.selves:
        yield Finding(
            code="role_unexpected",
            object=scope.snapshot.role,
            severity="error",
            why="The app connects as another role than the policies are written for.",
            remedy_sql=f"-- Put {variables.runtime_role} into the app's database URL, or grant "
            "it:\n"
            f"-- GRANT {identifier(variables.runtime_role)} TO {identifier(scope.snapshot.role)};",
        )


def attributes(scope: AuditScope) -> Iterator[Finding]:
    """The connected role has no attribute that goes around policies."""
    for name in scope.selves:
        role = scope.snapshot.roles[name]
        for attribute, (code, keyword, consequence) in _ATTRIBUTES.items():
            if not getattr(role, attribute):
                continue
            remedy = f"ALTER ROLE {identifier(name)} {keyword};"
            if role.bootstrap:
                # It cannot lose them, and an attempt on an older server would lock everybody out.
                remedy = "-- Connect the app as another role; this one made the server."
            yield Finding(
                code=code,
                object=name,
                severity="error",
                why=f"The app's role {consequence}.",
                remedy_sql=remedy,
            )


def memberships(scope: AuditScope) -> Iterator[Finding]:
    """The connected role can become no role that stands above the policies."""
    edges = [
        edge
        for edge in scope.snapshot.edges
        if edge.member in scope.selves and edge.role not in scope.selves
    ]
    behind = {edge: scope.reachable_from(edge.role) for edge in edges}
    for target in sorted(frozenset().union(*behind.values()) - set(scope.selves)):
        power = _power(scope, scope.snapshot.roles[target])
        if not power:
            continue
        cut = [edge for edge in edges if target in behind[edge]]
        yield Finding(
            code="role_can_become",
            object=scope.snapshot.role,
            severity="error",
            why=f"It is a member of {target}{_by_way_of(cut, target)}, which {power}.",
            remedy_sql="\n".join(_revoke(edge, scope.snapshot.version) for edge in cut),
        )


def presets(scope: AuditScope) -> Iterator[Finding]:
    """No session starts with a tenant already bound."""
    for preset in scope.snapshot.presets:
        yield Finding(
            code="tenant_preset",
            object=preset.role or preset.database or "ALL",
            severity="error",
            why=f"Every new session has {preset.name.lower()} set, so a transaction that nobody "
            "bound still reads a tenant's rows.",
            remedy_sql=f"ALTER {_holder(preset)} RESET {preset.name.lower()};",
        )


def _power(scope: AuditScope, role: Role) -> str:
    variables = scope.inventory.variables
    if role.superuser or role.bypass_rls:
        return "bypasses every policy"
    if role.create_role or role.replication:
        return "can grant itself more, or stream every change"
    if role.name == variables.system_role:
        return "reads across tenants"
    declared = scope.present((*scope.inventory.shared, *scope.inventory.system_only))
    owned = {relation.owner for relation in (*scope.guarded, *scope.children(), *declared)}
    if role.name in {variables.owner_role, scope.snapshot.helper_owner, *owned}:
        return "owns what policies stand on and can switch them off"
    return _PREDEFINED.get(role.name, "")


def _by_way_of(cut: list[Edge], target: str) -> str:
    hops = sorted({edge.role for edge in cut} - {target})
    return f" by way of {', '.join(hops)}" if hops else ""


def _revoke(edge: Edge, version: int) -> str:
    # Since PostgreSQL 16 a membership is revoked per grantor, and the default may be another's.
    by = f" GRANTED BY {identifier(edge.grantor)}" if version >= 160000 else ""  # noqa: PLR2004 - a server version
    return f"REVOKE {identifier(edge.role)} FROM {identifier(edge.member)}{by};"


def _holder(preset: Preset) -> str:
    if preset.role is None:
        return "ROLE ALL" if preset.database is None else f"DATABASE {identifier(preset.database)}"
    where = "" if preset.database is None else f" IN DATABASE {identifier(preset.database)}"
    return f"ROLE {identifier(preset.role)}{where}"
