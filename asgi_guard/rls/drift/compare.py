"""From what is to what should be: the changes, each with its SQL there and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlalchemy import Column, Identity, Sequence, Table

from asgi_guard.rls.ddl.names import TableName
from asgi_guard.rls.ddl.tables import PERMISSIVE, RESTRICTIVE, SYSTEM
from asgi_guard.rls.drift.aspects import Kind, found_relation, wanted_relation
from asgi_guard.rls.drift.change import Change
from asgi_guard.rls.drift.helpers import helper_changes
from asgi_guard.rls.drift.state import FoundRelation, State
from asgi_guard.rls.drift.statements import OURS, Extras, drop_policy, guard, open_shared, shut
from asgi_guard.rls.inventory import Inventory
from asgi_guard.rls.policies import TenantPolicies
from asgi_guard.rls.variables import RLSVariables

__all__ = ["changes", "left_behind"]


def changes(state: State, policies: TenantPolicies, *, new: Iterable[Table] = ()) -> list[Change]:
    """Compare the database with *policies*.

    Args:
        state: What the catalog said.
        policies: What should be.
        new: Tables that will have been created before the changes run.

    Returns:
        The changes in the order in which they are made; none when all is in place. A declared
        table or view that neither exists nor is *new* is passed over.
    """
    inventory = policies.inventory
    found = [*helper_changes(state, inventory)]
    made = {TableName.of(table, inventory.default_schema): table for table in new}
    for kind, names in _kinds(inventory):
        for name in names:
            index = name in policies.unindexed
            if name in made:
                found.append(_created(kind, made[name], name, inventory, index=index))
            elif (there := state.relations.get(name)) is not None:
                found += _altered(kind, there, state, inventory, index=index)
    return found


def left_behind(state: State, inventory: Inventory, name: TableName) -> Change | None:
    """Shut a table of ours that is about to be dropped, so that making it again guards it again."""
    found = state.relations.get(name)
    if found is None:
        return None
    variables = inventory.variables
    kind = _kind_of(found, variables) or _meant_as(found, variables)
    if kind is None:
        return None
    back = guard(kind, found.name, variables, _extras_of(found, state, index=False))
    return Change("drop", str(name), (), shut(kind, name, variables), back)


def _kinds(inventory: Inventory) -> Iterator[tuple[Kind, tuple[TableName, ...]]]:
    yield "guarded", inventory.guarded
    yield "shared", inventory.shared
    yield "system_only", inventory.system_only
    yield "view", inventory.views


def _extras_of(found: FoundRelation, state: State, *, index: bool) -> Extras:
    children = found.kind == "p" or bool(state.children(found.name))
    return Extras(children, bool(found.sequences), index)


def _created(
    kind: Kind, table: Table, name: TableName, inventory: Inventory, *, index: bool
) -> Change:
    partitioned = table.dialect_options["postgresql"]["partition_by"] is not None
    extras = Extras(partitioned, _draws(table), index)
    statements = guard(kind, name, inventory.variables, extras)
    closed = shut(kind, name, inventory.variables)
    return Change("create", str(name), ("is new",), statements, closed)


def _draws(table: Table) -> bool:
    columns: list[Column[object]] = list(table.columns)
    return table.autoincrement_column is not None or any(
        column.identity is not None or isinstance(column.default, Sequence | Identity)
        for column in columns
    )


def _altered(
    kind: Kind, found: FoundRelation, state: State, inventory: Inventory, *, index: bool
) -> Iterator[Change]:
    variables = inventory.variables
    departs = list(_departs(kind, found, variables, index=index))
    if kind == "guarded":
        for name in state.children(found.name):
            child = state.relations[name]
            departs += [
                f"partition {name}: {aspect}"
                for aspect in _departs("partition", child, variables, index=False)
            ]
    if not departs:
        return
    before = _kind_of(found, variables)
    extras = _extras_of(found, state, index=index)
    forgotten = tuple(
        drop_policy(aspect, found.name) for aspect in _unwanted(kind, found, variables, index=index)
    )
    opened = open_shared(found) if kind == "shared" and forgotten else ()
    upgrade = (*forgotten, *opened, *guard(kind, found.name, variables, extras))
    foreign = _foreign(found, state, variables, kind)
    if before is None and _untouched(kind, found, variables):
        closed = shut(kind, found.name, variables)
        yield Change("create", str(found.name), tuple(departs), (*foreign, *upgrade), closed)
        return
    back: tuple[str, ...] = ()
    if before is not None and before != kind:
        back = guard(before, found.name, variables, extras)
    yield Change("alter", str(found.name), tuple(departs), (*foreign, *upgrade), back)


def _untouched(kind: Kind, found: FoundRelation, variables: RLSVariables) -> bool:
    """Tell whether nothing of ours is there yet, or a downgrade took it away."""
    if kind in {"guarded", "system_only"}:
        return not any(policy.name in OURS for policy in found.policies)
    ours = {variables.runtime_role, variables.system_role}
    return found.owner != variables.owner_role or ours.isdisjoint(who for who, _ in found.grants)


def _departs(
    kind: Kind, found: FoundRelation, variables: RLSVariables, *, index: bool
) -> Iterator[str]:
    wanted = wanted_relation(kind, found, variables, index=index)
    there = found_relation(kind, found, variables, index=index)
    for aspect in {**wanted, **there}:
        if wanted.get(aspect) != there.get(aspect):
            yield aspect


def _unwanted(
    kind: Kind, found: FoundRelation, variables: RLSVariables, *, index: bool
) -> list[str]:
    wanted = wanted_relation(kind, found, variables, index=index)
    there = found_relation(kind, found, variables, index=index)
    return [aspect for aspect in there if aspect.startswith("policy ") and aspect not in wanted]


def _foreign(
    found: FoundRelation, state: State, variables: RLSVariables, kind: Kind
) -> tuple[str, ...]:
    """Drop what was added to partitions; the block that guards them replaces ours alone."""
    if kind != "guarded":
        return ()
    return tuple(
        drop_policy(aspect, name)
        for name in state.children(found.name)
        for aspect in _unwanted("partition", state.relations[name], variables, index=False)
    )


def _kind_of(found: FoundRelation, variables: RLSVariables) -> Kind | None:
    """Say what a table soundly is now, or None."""
    kinds: tuple[Kind, ...] = ("guarded", "system_only")
    for kind in kinds if found.kind != "v" else ():
        if not list(_departs(kind, found, variables, index=False)):
            return kind
    return None


def _meant_as(found: FoundRelation, variables: RLSVariables) -> Kind | None:
    """Say what a table was meant to be that is not soundly so; the strictest that fits."""
    names = {policy.name for policy in found.policies}
    if not names.isdisjoint({PERMISSIVE, RESTRICTIVE}):
        return "guarded"
    if SYSTEM in names:
        return "system_only"
    reads = (variables.runtime_role, "SELECT") in found.grants
    return "shared" if reads and found.owner == variables.owner_role else None
