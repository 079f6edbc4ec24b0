"""The comparison behind ``alembic revision --autogenerate`` and ``alembic check``.

Runs after Alembic's own, so that it knows which tables are about to be made or dropped; and takes
back what Alembic proposes against the policies: dropping partitions, the seal's keys, the index
that leads with the tenant, or the tenant column's NOT NULL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from alembic.autogenerate import comparators
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation
from alembic.operations.ops import (
    AlterColumnOp,
    CreateTableOp,
    DropIndexOp,
    DropTableOp,
    ModifyTableOps,
    OpContainer,
    UpgradeOps,
)
from alembic.util import DispatchPriority
from sqlalchemy import Connection, Table

from asgi_guard.errors import ConfigError
from asgi_guard.rls.ddl.names import TableName
from asgi_guard.rls.drift.change import Change
from asgi_guard.rls.drift.compare import changes, left_behind
from asgi_guard.rls.drift.query import state_query
from asgi_guard.rls.drift.state import State
from asgi_guard.rls.inventory import Inventory
from asgi_guard.rls.policies import TenantPolicies

__all__ = ["OPTION", "read_state", "register"]

OPTION: Final = "tenant_policies"
"""The option of ``context.configure``."""


def register(make: Callable[[Change], MigrateOperation]) -> None:
    """Have autogenerate compare policies; *make* turns a change into an operation."""

    @comparators.dispatch_for(
        "autogenerate", qualifier="postgresql", priority=DispatchPriority.LAST
    )
    def compare(context: AutogenContext, upgrade: UpgradeOps) -> None:
        policies = context.opts.get(OPTION)
        if policies is not None:
            _compare(context, upgrade, policies, make)


def read_state(connection: Connection, policies: TenantPolicies) -> State:
    """Read what the database has, as the connected role; needs no rights beyond the catalog's."""
    query = state_query(policies.inventory.variables)
    answer = connection.exec_driver_sql(query, execution_options={"no_parameters": True})
    return State.parse(answer.scalar_one())


def _compare(
    context: AutogenContext,
    upgrade: UpgradeOps,
    policies: object,
    make: Callable[[Change], MigrateOperation],
) -> None:
    if not isinstance(policies, TenantPolicies):
        raise ConfigError(
            OPTION, f"got a {type(policies).__name__}", "Write **migration_options(policies)."
        )
    if context.connection is None:
        raise ConfigError(OPTION, "there is no connection", "Autogenerate needs a database.")
    state = read_state(context.connection, policies)
    _take_back(upgrade, state, policies)
    inventory = policies.inventory
    made: list[Table] = []
    dropped: list[Change] = []
    for operation in upgrade.ops:
        if isinstance(operation, CreateTableOp):
            made.append(operation.to_table())
        elif isinstance(operation, DropTableOp):
            change = left_behind(state, inventory, _named(operation, inventory))
            dropped += [change] if change else []
    # Shut before it is dropped, guarded after it is made: and the other way round going back.
    upgrade.ops[:0] = [make(change) for change in dropped]
    upgrade.ops += [make(change) for change in changes(state, policies, new=made)]


def _take_back(upgrade: UpgradeOps, state: State, policies: TenantPolicies) -> None:
    inventory = policies.inventory
    ours = {child for table in inventory.guarded for child in state.children(table)}
    ours |= {name for name in state.relations if name.schema == inventory.variables.schema}
    kept: list[MigrateOperation] = []
    for operation in upgrade.ops:
        name = _named(operation, inventory)
        declared = name in inventory.guarded
        if name in ours and not declared:
            continue
        if declared and isinstance(operation, ModifyTableOps):
            _keep_tenant(operation, name, policies)
            if not operation.ops:
                continue
        kept.append(operation)
    upgrade.ops[:] = kept


def _keep_tenant(table: OpContainer, name: TableName, policies: TenantPolicies) -> None:
    """Leave the column's NOT NULL and default, and the index that the DDL made."""
    column = policies.inventory.variables.column
    index = f"ix_{name.name[:50]}_tenant"
    kept: list[MigrateOperation] = []
    for operation in table.ops:
        if isinstance(operation, DropIndexOp) and operation.index_name == index:
            if name in policies.unindexed:
                continue
        elif isinstance(operation, AlterColumnOp) and operation.column_name == column:
            operation.modify_nullable = None
            operation.modify_server_default = False
            if not operation.has_changes():
                continue
        kept.append(operation)
    table.ops[:] = kept


def _named(operation: Any, inventory: Inventory) -> TableName:
    schema = getattr(operation, "schema", None) or inventory.default_schema
    return TableName(schema, getattr(operation, "table_name", None) or "")
