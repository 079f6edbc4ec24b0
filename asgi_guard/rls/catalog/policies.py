"""Checks of policies: one that lets the tenant in, and none that lets another in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from asgi_guard.rls.catalog.finding import Finding, make, script
from asgi_guard.rls.catalog.policy_shapes import departure, is_tenant_predicate
from asgi_guard.rls.catalog.scope import AuditScope
from asgi_guard.rls.catalog.snapshot import Policy, Relation
from asgi_guard.rls.ddl.names import TableName, identifier
from asgi_guard.rls.ddl.tables import SYSTEM, policy_statements, system_only_statements
from asgi_guard.rls.variables import RLSVariables

__all__ = ["policies", "system_tables"]

_COMMANDS: Final = {"SELECT": "r", "INSERT": "a", "UPDATE": "w", "DELETE": "d"}
_ALL: Final = frozenset(_COMMANDS.values())
_WRITES: Final = frozenset({"INSERT", "UPDATE", "DELETE"})


def policies(scope: AuditScope) -> Iterator[Finding]:
    """Every guarded table that the app can reach has policies that hold, and no others."""
    declared = set(scope.inventory.guarded)
    for relation in scope.guarded:
        if relation.kind in "rp" and (relation.privileges or relation.name in declared):
            yield from _missing(relation, scope.inventory.variables)
            yield from _departures(relation, scope)
            yield from _unseen(relation, scope)
    for relation in scope.children():
        if relation.privileges and relation.enabled:
            yield from _departures(relation, scope)


def _unseen(relation: Relation, scope: AuditScope) -> Iterator[Finding]:
    if any(policy.name == SYSTEM for policy in relation.policies) or not relation.policies:
        return
    yield make(
        "system_policy_missing",
        relation.name,
        "The system role sees no row of it: maintenance quietly does nothing; BYPASSRLS would be "
        "somebody's mend.",
        script(policy_statements(relation.name.sql, scope.inventory.variables)),
    )


def system_tables(scope: AuditScope) -> Iterator[Finding]:
    """A system table has policies for the system role alone."""
    variables = scope.inventory.variables
    for relation in scope.present(scope.inventory.system_only):
        opened = [policy for policy in relation.policies if policy.applies and policy.permissive]
        if not opened:
            continue
        yield make(
            "policy_on_system_table",
            relation.name,
            f"{', '.join(policy.name for policy in opened)} applies to the app's role: a stray "
            "grant then shows it rows.",
            script(
                [
                    *(_dropped(relation, policy) for policy in opened),
                    *system_only_statements(relation.name.sql, variables),
                ]
            ),
            severity="error" if relation.privileges else "warning",
        )


def _missing(relation: Relation, variables: RLSVariables) -> Iterator[Finding]:
    remedy = script(policy_statements(relation.name.sql, variables))
    active = [policy for policy in relation.policies if policy.active and policy.permissive]
    if not active:
        yield make(
            "policy_missing",
            relation.name,
            "No policy applies to the app's role: every statement finds nothing, and the first "
            "one that somebody adds in a hurry decides.",
            remedy,
        )
        return
    wanted = _granted(relation) if relation.privileges else _ALL
    covered = {policy.command for policy in active}
    left = [name for name, letter in _COMMANDS.items() if letter in wanted - covered]
    if left and "*" not in covered:
        yield make(
            "policy_commands",
            relation.name,
            f"No policy covers {', '.join(left)}: whoever meets the refusal will add one.",
            remedy,
        )
    if not any(
        _restricts(policy, letter, variables) for policy in relation.policies for letter in _ALL
    ):
        yield make(
            "policy_not_restrictive",
            relation.name,
            "Permissive policies are ORed: the next one that is added opens the table, for "
            "nothing restrictive holds against it.",
            remedy,
            severity="warning",
        )


def _departures(relation: Relation, scope: AuditScope) -> Iterator[Finding]:
    """Name each policy that is not the tenant comparison, and what it lets by."""
    variables = scope.inventory.variables
    for policy in relation.policies:
        if not policy.permissive:
            continue
        for code in _codes(policy, scope):
            if not policy.applies:
                continue
            held = code != "policy_check_missing" and _held(relation, policy, variables)
            yield _departure(relation, policy, code, variables, held=held)
        if policy.owners and not policy.applies and list(_codes(policy, scope)):
            yield make(
                "policy_for_owner",
                relation.name,
                f"{policy.name} lets the owner {relation.owner} past FORCE, and with it whatever "
                "runs with the owner's rights.",
                _dropped(relation, policy) + ";",
                severity=scope.severity(relation),
            )


def _codes(policy: Policy, scope: AuditScope) -> Iterator[str]:
    """Give the codes of one policy's departures: of USING, and of WITH CHECK where it differs."""
    variables = scope.inventory.variables

    def writable(table: TableName) -> bool:
        found = scope.snapshot.relations.get(table)
        return found is not None and bool(found.privileges & _WRITES)

    exact = is_tenant_predicate(policy.using, policy, variables)
    if policy.using is not None and not exact:
        yield departure(policy.using, policy, variables, writable)
    if policy.check is None:
        if exact and policy.command in {"*", "w"}:
            yield "policy_check_missing"
    elif not is_tenant_predicate(policy.check, policy, variables):
        if exact:
            yield "policy_check_weaker"
        elif policy.using is None:
            code = departure(policy.check, policy, variables, writable)
            yield "policy_check_weaker" if code == "policy_open" else code


def _departure(
    relation: Relation, policy: Policy, code: str, variables: RLSVariables, *, held: bool
) -> Finding:
    why = f"{policy.name} compares something else than {variables.column} with the bound tenant"
    if code == "policy_check_missing":
        why = f"{policy.name} leaves what may be written to USING: changing one changes both"
    elif code == "policy_check_weaker":
        why = f"{policy.name} lets rows be written that it would not show"
    because = "; the restrictive policy holds against it." if held else "."
    statements = policy_statements(relation.name.sql, variables)
    if f"DROP POLICY IF EXISTS {policy.name} " not in " ".join(statements):
        statements = [_dropped(relation, policy), *statements]
    return make(
        code,
        relation.name,
        why + because,
        script(statements),
        severity="warning" if held else None,
    )


def _held(relation: Relation, policy: Policy, variables: RLSVariables) -> bool:
    """Tell whether restrictive policies stop what *policy* lets by, for each of its commands."""
    concerned = _ALL if policy.command == "*" else frozenset({policy.command})
    granted = _granted(relation)
    return all(
        any(_restricts(strict, command, variables) for strict in relation.policies)
        for command in concerned & granted or concerned
    )


def _restricts(policy: Policy, command: str, variables: RLSVariables) -> bool:
    if policy.permissive or not policy.active or policy.command not in {"*", command}:
        return False
    # Without WITH CHECK the USING expression is applied to new rows too (CREATE POLICY docs).
    written = policy.check if policy.check is not None else policy.using
    expressions = {"r": [policy.using], "a": [written], "d": [policy.using]}
    return all(
        is_tenant_predicate(expression, policy, variables)
        for expression in expressions.get(command, [policy.using, written])
    )


def _granted(relation: Relation) -> frozenset[str]:
    return frozenset(_COMMANDS[name] for name in relation.privileges if name in _COMMANDS)


def _dropped(relation: Relation, policy: Policy) -> str:
    # What looks like the system role's own is replaced by it, not only dropped.
    exists = "IF EXISTS " if policy.name == SYSTEM else ""
    return f"DROP POLICY {exists}{identifier(policy.name)} ON {relation.name.sql}"
