"""The SQL of a change: what guards a table of each kind, and what shuts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from asgi_guard.rls.ddl import partitions, tables
from asgi_guard.rls.ddl.names import TableName, explained, identifier
from asgi_guard.rls.ddl.tables import PERMISSIVE, RESTRICTIVE, SYSTEM
from asgi_guard.rls.drift.aspects import Kind
from asgi_guard.rls.drift.state import FoundRelation
from asgi_guard.rls.variables import RLSVariables

__all__ = ["OURS", "Extras", "drop_policy", "guard", "open_shared", "shut"]

OURS: Final = (PERMISSIVE, SYSTEM, RESTRICTIVE)
"""The names of the policies that we write; what opens comes first."""


@dataclass(frozen=True, slots=True)
class Extras:
    """What hangs on a table: children, sequences, the index that its keys do not give."""

    children: bool
    sequences: bool
    index: bool


def guard(kind: Kind, name: TableName, variables: RLSVariables, extras: Extras) -> tuple[str, ...]:
    """Write everything that a table or view of *kind* gets; running it again changes nothing."""
    render = {
        "guarded": tables.guarded_statements,
        "shared": tables.shared_statements,
        "system_only": tables.system_only_statements,
        "view": tables.view_statements,
    }[kind]
    statements = render(name.sql, variables)
    if extras.index and kind == "guarded":
        statements.append(tables.index_statement(name, variables))
    if extras.sequences and kind in {"guarded", "system_only"}:
        statements.append(tables.sequence_statement([name], variables))
    if extras.children and kind == "guarded":
        statements.append(partitions.partition_statement([name], variables))
    return tuple(statements)


def shut(kind: Kind, name: TableName, variables: RLSVariables) -> tuple[str, ...]:
    """Leave nobody but the owner's administrators a row: what a downgrade leaves behind."""
    table = name.sql
    apps = f"{identifier(variables.runtime_role)}, {identifier(variables.system_role)}"
    statements = [
        explained(
            f"REVOKE ALL ON TABLE {table} FROM PUBLIC, {apps}",
            "Shut, not open: no grant, and no policy that shows a row.",
        )
    ]
    if kind in {"guarded", "system_only"}:
        statements.append(
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
        )
        statements += [f"DROP POLICY IF EXISTS {policy} ON {table}" for policy in OURS]
    if kind == "guarded":
        statements.append(
            f"ALTER TABLE {table} ALTER COLUMN {identifier(variables.column)} DROP DEFAULT"
        )
    return tuple(statements)


def open_shared(found: FoundRelation) -> tuple[str, ...]:
    """Let reference data be read without policies; only where all of them were ours."""
    if any(policy.name not in OURS for policy in found.policies):
        return ()
    return (
        f"ALTER TABLE {found.name.sql} DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY",
    )


def drop_policy(aspect: str, table: TableName) -> str:
    """Drop the policy that an aspect is about."""
    return f"DROP POLICY {identifier(aspect.removeprefix('policy '))} ON {table.sql}"
