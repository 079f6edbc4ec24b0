"""plan_adoption: the catalog in, every step and its SQL out; nothing is changed."""

from __future__ import annotations

from typing import Any

from asgi_guard.errors import ConfigError
from asgi_guard.rls.adoption.filling import (
    column_step,
    drop_filler,
    fill_step,
    filled_steps,
    make_filler,
)
from asgi_guard.rls.adoption.keys import key_steps, swap_steps
from asgi_guard.rls.adoption.monitoring import (
    MONITOR,
    drop_tools,
    hidden_check,
    monitor_policy,
    monitor_step,
    monitor_tools,
)
from asgi_guard.rls.adoption.reading import FoundTable, read_tables
from asgi_guard.rls.adoption.spec import STAGES, Adoption, Filling
from asgi_guard.rls.adoption.steps import Action, Step
from asgi_guard.rls.ddl import functions, partitions, roles, tables
from asgi_guard.rls.ddl.names import TableName, identifier
from asgi_guard.rls.ddl.tables import PERMISSIVE, RESTRICTIVE, SYSTEM

__all__ = ["plan_adoption"]


async def plan_adoption(connection: Any, adoption: Adoption) -> list[Step]:
    """Plan every step from the catalog.

    Args:
        connection: An administrator's asyncpg connection.
        adoption: What is to be adopted.

    Raises:
        ConfigError: A table is missing, has policies or a tenant column of another type, a parent
            cannot be found, or a key must be changed by hand first.
    """
    names = _parents_first(adoption)
    found = await read_tables(connection, names, adoption.variables.column)
    for table in found:
        _check(table, adoption)
    steps = [_prepare(adoption)]
    for table in found:
        filling = adoption.tables[table.name]
        steps += [column_step(table, filling, adoption), fill_step(table, filling, adoption)]
        steps += filled_steps(table, adoption)
        steps.append(monitor_step(table, adoption))
    # Children first: their trigger asks parents, who then still answer it.
    steps += [_enforce(table, adoption.tables[table.name], adoption) for table in reversed(found)]
    column = adoption.variables.column
    steps += [*key_steps(found, column), _watch(adoption), *swap_steps(found, column)]
    steps.append(_finish(adoption, found))
    # Sorting is stable: within a stage, parents stay before children.
    return sorted(steps, key=lambda step: (STAGES.index(step.stage), step.table != ""))


def _parents_first(adoption: Adoption) -> list[TableName]:
    ordered: list[TableName] = []
    waiting = dict(adoption.tables)
    while waiting:
        ready = [name for name, filling in waiting.items() if _ready(filling, adoption, waiting)]
        if not ready:
            raise ConfigError(
                "adoption.tables",
                f"{', '.join(map(str, waiting))} are each other's parents",
                "Give one of them a constant or an expression.",
            )
        for name in ready:
            ordered.append(name)
            del waiting[name]
    return ordered


def _ready(filling: Filling, adoption: Adoption, waiting: dict[TableName, Filling]) -> bool:
    return filling.source != "parent" or filling.parent(adoption.schema)[0] not in waiting


def _check(table: FoundTable, adoption: Adoption) -> None:
    filling, kind = adoption.tables[table.name], adoption.variables.tenant_id.sql_type
    if table.policies:
        raise ConfigError(
            f"adoption.{table.name}",
            f"has policies already: {', '.join(table.policies)}",
            "Drop them, or compare with the audit and Alembic instead.",
        )
    if filling.source == "existing" and table.column is None:
        raise ConfigError(f"adoption.{table.name}", "has no tenant column", "Name its source.")
    if table.column is not None and table.column[0] != kind:
        raise ConfigError(
            f"adoption.{table.name}",
            f"its tenant column is {table.column[0]}, tenant ids are {kind}",
            "Change the column's type first.",
        )


def _prepare(adoption: Adoption) -> Step:
    variables = adoption.variables
    made = (
        roles.administrator_check(variables),
        *roles.role_statements(variables),
        *functions.helper_statements(variables),
    )
    title = "make roles and helper functions; taken back, they stay"
    return Step("column", "", title, (Action(made),))


def _watch(adoption: Adoption) -> Step:
    return Step(
        "monitor",
        "",
        "make what writes findings down",
        (Action(tuple(monitor_tools(adoption.variables))),),
        (Action(tuple(drop_tools(adoption.variables))),),
    )


def _enforce(table: FoundTable, filling: Filling, adoption: Adoption) -> Step:
    """One transaction: watched before, guarded after, and never open in between."""
    variables, name = adoption.variables, table.name
    forward = [
        *functions.schema_statements(variables, (name.schema,)),
        *tables.guarded_statements(name.sql, variables),
        tables.sequence_statement([name], variables),
        f"DROP POLICY IF EXISTS {MONITOR} ON {name.sql}",
        *drop_filler(name, variables),
    ]
    if table.kind == "p":
        forward.append(partitions.partition_statement([name], variables))
    filler = [] if filling.source == "existing" else make_filler(table, filling, adoption)
    policies = (PERMISSIVE, SYSTEM, RESTRICTIVE)
    backward = [
        *monitor_policy(name, variables),
        *(
            f"DROP POLICY IF EXISTS {policy} ON {relation}"
            for relation in (name.sql, *table.leaves)
            for policy in policies
        ),
        *filler,
        *_rights_of_before(table, adoption),
    ]
    return Step(
        "enforce",
        str(name),
        "guard the table, and stop watching it",
        (Action(tuple(forward)),),
        (Action(tuple(backward)),),
        (hidden_check(name, variables),),
    )


def _rights_of_before(table: FoundTable, adoption: Adoption) -> list[str]:
    variables, name = adoption.variables, table.name.sql
    column = identifier(variables.column)
    ours = f"{identifier(variables.runtime_role)}, {identifier(variables.system_role)}"
    default = f"SET DEFAULT {table.default}" if table.default else "DROP DEFAULT"
    back = [
        f"ALTER TABLE {name} ALTER COLUMN {column} {default}",
        f"REVOKE ALL ON TABLE {name} FROM PUBLIC, {ours}",
        f"ALTER TABLE {name} OWNER TO {identifier(table.owner)}",
    ]
    for who, privilege, grantable in table.grants:
        to = identifier(who) if who else "PUBLIC"
        option = " WITH GRANT OPTION" if grantable else ""
        back.append(f"GRANT {privilege} ON TABLE {name} TO {to}{option}")
    return back


def _finish(adoption: Adoption, found: list[FoundTable]) -> Step:
    variables = adoption.variables
    forward = (
        f"REVOKE EXECUTE ON FUNCTION {functions.current_tenant(variables)} FROM PUBLIC",
        f"DROP FUNCTION IF EXISTS {identifier(variables.schema)}.monitor_crossing(oid, text)",
    )
    listed = ", ".join(str(table.name) for table in found)
    return Step(
        "enforce",
        "~",  # sorts after the tables
        f"stop watching {listed}",
        (Action(forward),),
        (Action(tuple(monitor_tools(variables))),),
    )
