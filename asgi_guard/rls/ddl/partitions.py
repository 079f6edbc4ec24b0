"""Partitions and inheritance children: policies of the parent do not reach them by name.

A statement on the parent is checked by the parent's policies alone; a statement that names the
child is checked by the child's (PostgreSQL docs, section 5.9). So each child gets the same
policies, and no grant at all.
"""

from __future__ import annotations

from collections.abc import Iterable

from asgi_guard.rls.ddl.names import DOLLAR, TableName, identifier, literal
from asgi_guard.rls.ddl.tables import policy_statements
from asgi_guard.rls.variables import RLSVariables

__all__ = ["child_statements", "partition_statement"]


def child_statements(child: str, variables: RLSVariables) -> list[str]:
    """Protect one child; *child* is its qualified name as SQL, or ``%1$s`` for ``format``."""
    runtime, system = identifier(variables.runtime_role), identifier(variables.system_role)
    return [
        f"ALTER TABLE {child} OWNER TO {identifier(variables.owner_role)}",
        f"ALTER TABLE {child} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        *policy_statements(child, variables),
        f"REVOKE ALL ON TABLE {child} FROM PUBLIC, {runtime}, {system}",
    ]


def partition_statement(parents: Iterable[TableName], variables: RLSVariables) -> str:
    """Protect every child that exists now, of any depth; run again after adding one."""
    listed = ",\n            ".join(f"{literal(parent.sql)}::regclass" for parent in parents)
    body = "\n".join(
        f"        EXECUTE pg_catalog.format({literal(_one_line(statement))}, child);"
        for statement in child_statements("%1$s", variables)
    )
    return f"""\
-- Partitions: the same policies by each one's own name, and no grant. Run again after adding one.
DO {DOLLAR}
DECLARE
    child regclass;
BEGIN
    FOR child IN
        WITH RECURSIVE tree AS (
            SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent IN (
            {listed})
            UNION
            SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree t ON i.inhparent = t.inhrelid
        )
        SELECT t.inhrelid FROM tree t
        JOIN pg_catalog.pg_class c ON c.oid = t.inhrelid AND c.relkind IN ('r', 'p')
    LOOP
{body}
    END LOOP;
END
{DOLLAR}"""


def _one_line(statement: str) -> str:
    lines = (line.strip() for line in statement.splitlines())
    return " ".join(line for line in lines if not line.startswith("--"))
