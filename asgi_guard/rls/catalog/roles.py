"""Checks of the connected role: what it is, and what it can become."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from asgi_guard.rls.catalog.codes import Severity
from asgi_guard.rls.catalog.facts import Edge, Role
from asgi_guard.rls.catalog.finding import Finding, make
from asgi_guard.rls.catalog.scope import AuditScope
from asgi_guard.rls.ddl.names import identifier
from asgi_guard.rls.ddl.roles import missing_role_statement

__all__ = ["attributes", "companions", "memberships", "names"]

# attribute: code, keyword that takes it away, what the role is or does, and what that allows
_ATTRIBUTES: Final = {
    "superuser": ("role_superuser", "NOSUPERUSER", "is a superuser: no policy is ever asked"),
    "bypass_rls": ("role_bypasses_rls", "NOBYPASSRLS", "has BYPASSRLS: no policy is ever asked"),
    "create_role": (
        "role_creates_roles",
        "NOCREATEROLE",
        "has CREATEROLE: it can make itself a member of other roles",
    ),
    "create_db": (
        "role_creates_databases",
        "NOCREATEDB",
        "has CREATEDB: it owns, and fills, what it makes",
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
    "pg_create_subscription": "fills tables with another server's rows",
}
# Who may read what other sessions are running, tokens in its text included (section 27.2).
_WATCHERS: Final = frozenset({"pg_monitor", "pg_read_all_stats"})


def names(scope: AuditScope) -> Iterator[Finding]:
    """The app connects as the role that the policies are written for, and the roles exist."""
    variables = scope.inventory.variables
    for role, login in (
        (variables.owner_role, False),
        (variables.runtime_role, True),
        (variables.system_role, True),
    ):
        if role not in scope.snapshot.roles:
            yield make(
                "role_missing",
                role,
                "There is no such role, so no policy can be written for it.",
                missing_role_statement(role, login=login) + ";",
                severity="error" if role == variables.runtime_role else "warning",
            )
    if variables.runtime_role not in scope.selves:
        yield make(
            "role_unexpected",
            scope.snapshot.role,
            "The app connects as another role than the policies are written for.",
            f"-- Put {variables.runtime_role} into the app's database URL, or grant it:\n"
            f"-- GRANT {identifier(variables.runtime_role)} TO {identifier(scope.snapshot.role)};",
        )
    if scope.snapshot.session != scope.snapshot.role:
        yield make(
            "role_session_differs",
            scope.snapshot.session,
            f"The session logged in as {scope.snapshot.session} and only plays "
            f"{scope.snapshot.role}: one injected RESET ROLE undoes it.",
            f"-- Connect as {scope.snapshot.role}; do not SET ROLE in a hook or the URL's options.",
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
            yield make(code, name, f"The app's role {consequence}.", remedy)


def companions(scope: AuditScope) -> Iterator[Finding]:
    """The owner and the system role are held by policies too, and nobody logs in as the owner."""
    variables, roles = scope.inventory.variables, scope.snapshot.roles
    for name, code in (
        (variables.owner_role, "owner_role_strong"),
        (variables.system_role, "system_role_strong"),
    ):
        role = roles.get(name)
        if role is None or name in scope.selves:
            continue
        strong = [attribute for attribute in _ATTRIBUTES if getattr(role, attribute)]
        words = [_ATTRIBUTES[attribute][1] for attribute in strong]
        if code == "owner_role_strong" and role.login:
            words.append("NOLOGIN")
        if words:
            past = role.superuser or role.bypass_rls
            remedy = f"ALTER ROLE {identifier(name)} {' '.join(words)};"
            yield make(
                code,
                name,
                f"It is not {', '.join(words)}: what runs with its rights is held by no policy."
                if past
                else f"It is not {', '.join(words)}, which its work does not need.",
                "-- Give each of the three roles a name of its own." if role.bootstrap else remedy,
                severity="error" if past else "warning",
            )


def memberships(scope: AuditScope) -> Iterator[Finding]:
    """The connected role can become no other."""
    edges = [
        edge
        for edge in scope.snapshot.edges
        if edge.member in scope.selves and edge.role not in scope.selves
    ]
    behind = {edge: scope.reachable_from(edge.role) for edge in edges}
    for target in sorted(frozenset().union(*behind.values()) - set(scope.selves)):
        code, what, severity = _membership(scope, scope.snapshot.roles[target])
        cut = [edge for edge in edges if target in behind[edge]]
        yield make(
            code,
            scope.snapshot.role,
            f"It is a member of {target}{_by_way_of(cut, target)}, which {what}.",
            "\n".join(_revoke(edge, scope.snapshot.version) for edge in cut),
            severity=severity,
        )


def _membership(scope: AuditScope, role: Role) -> tuple[str, str, Severity]:
    if power := _power(scope, role):
        return "role_can_become", power, "error"
    if role.name in _WATCHERS:
        return "activity_exposed", "reads what other sessions are running", "error"
    if role.name.startswith("pg_"):
        return "role_predefined", "was made for operators", "warning"
    return "role_member", "has rights of its own, which the audit counts as the app's", "warning"


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
