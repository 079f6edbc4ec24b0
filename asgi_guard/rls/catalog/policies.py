"""Checks of policies: one that lets the tenant in, and none that lets another in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Final

from asgi_guard.rls.catalog.finding import Finding
from asgi_guard.rls.catalog.scope import AuditScope
from asgi_guard.rls.catalog.snapshot import Policy, Relation
from asgi_guard.rls.ddl.names import identifier
from asgi_guard.rls.ddl.tables import policy_statements
from asgi_guard.rls.variables import RLSVariables

__all__ = ["is_tenant_predicate", "policies"]

_COMMANDS: Final = {"SELECT": "r", "INSERT": "a", "UPDATE": "w", "DELETE": "d"}


def policies(scope: AuditScope) -> Iterator[Finding]:
    """Every guarded table that the app can reach has policies that hold."""
    variables = scope.inventory.variables
    declared = set(scope.inventory.guarded)
    for relation in scope.guarded:
        if relation.privileges or relation.name in declared:
            yield from _judge(relation, variables, needed=True)
    for relation in scope.children():
        if relation.privileges and relation.enabled:
            yield from _judge(relation, variables, needed=False)


def is_tenant_predicate(expression: str | None, policy: Policy, variables: RLSVariables) -> bool:
    """Tell whether *expression* is the tenant comparison and nothing else.

    Compared with the few spellings in which PostgreSQL prints ours. The name of the function is
    printed without its schema when the search path finds it, so what it is comes from the
    catalog's dependencies instead.
    """
    if expression is None or policy.functions != (f"{variables.schema}.current_tenant",):
        return False
    return re.sub(r"\s+", "", expression) in _spellings(variables)


def _spellings(variables: RLSVariables) -> frozenset[str]:
    column, schema = identifier(variables.column), identifier(variables.schema)
    functions = ("current_tenant()", f"{schema}.current_tenant()")
    asked = [
        *functions,
        *(f"(SELECT{function}AScurrent_tenant)" for function in functions),
        *(f"(SELECT{function})" for function in functions),
    ]
    return frozenset(
        f"({left}={right})" for left, right in product((column, f"({column})::text"), asked)
    )


def _judge(relation: Relation, variables: RLSVariables, *, needed: bool) -> Iterator[Finding]:
    applying = [policy for policy in relation.policies if policy.applies]
    permissive = [policy for policy in applying if policy.permissive]
    remedy = "\n".join(f"{line};" for line in policy_statements(relation.name.sql, variables))
    if not permissive:
        if needed:
            yield Finding(
                code="policy_missing",
                object=str(relation.name),
                severity="error",
                why="No policy applies to the app's role: every statement finds nothing, and the "
                "first one that somebody adds in a hurry decides.",
                remedy_sql=remedy,
            )
        return
    opened = list(_open_policies(relation, applying, variables))
    if opened:
        yield Finding(
            code="policy_open",
            object=str(relation.name),
            severity="error",
            why=f"{', '.join(opened)} compares something else than {variables.column} with the "
            "bound tenant, and no restrictive policy holds against it.",
            remedy_sql=remedy,
        )


def _open_policies(
    relation: Relation, applying: list[Policy], variables: RLSVariables
) -> Iterable[str]:
    """Name the permissive policies that let rows through which no restrictive one stops."""
    found: dict[str, None] = {}
    commands = [
        letter for name, letter in _COMMANDS.items() if name in relation.privileges
    ] or list(_COMMANDS.values())
    for command in commands:
        concerned = [policy for policy in applying if policy.command in {"*", command}]
        strict = [policy for policy in concerned if not policy.permissive]
        if any(_holds(policy, command, variables) for policy in strict):
            continue
        for policy in concerned:
            if policy.permissive and not _holds(policy, command, variables):
                found[policy.name] = None
    return found


def _holds(policy: Policy, command: str, variables: RLSVariables) -> bool:
    # Without WITH CHECK the USING expression is applied to new rows too (CREATE POLICY docs).
    written = policy.check if policy.check is not None else policy.using
    expressions = {"r": [policy.using], "a": [written], "d": [policy.using]}
    return all(
        is_tenant_predicate(expression, policy, variables)
        for expression in expressions.get(command, [policy.using, written])
    )
