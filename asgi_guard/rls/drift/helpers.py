"""Roles, schemas and the functions that policies ask: where they depart, and what mends them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from asgi_guard.rls.ddl import functions, roles
from asgi_guard.rls.ddl.names import TableName
from asgi_guard.rls.ddl.sealed import SEAL_KEYS
from asgi_guard.rls.drift.aspects import found_function, wanted_function
from asgi_guard.rls.drift.change import HELPERS, Change
from asgi_guard.rls.drift.state import Grants, State
from asgi_guard.rls.inventory import Inventory
from asgi_guard.rls.variables import RLSVariables

__all__ = ["helper_changes"]


def helper_changes(state: State, inventory: Inventory) -> Iterator[Change]:
    """Give the one change that makes all of them as described, if something is not."""
    variables = inventory.variables
    departs = [*_role_departs(state, variables), *_schema_departs(state, inventory)]
    departs += [*_function_departs(state, variables), *_key_departs(state, variables)]
    if not departs:
        return
    upgrade = (
        roles.administrator_check(variables),
        *roles.role_statements(variables),
        *functions.schema_statements(variables, inventory.schemas),
        *functions.function_statements(variables),
    )
    other = replace(variables, sealed=not variables.sealed)
    was_other = bool(state.helpers) and not list(_function_departs(state, other))
    back = functions.function_statements(other) if was_other else ()
    action: Literal["create", "alter"] = "alter" if state.helpers else "create"
    yield Change(action, HELPERS, tuple(departs), upgrade, tuple(back))


def _role_departs(state: State, variables: RLSVariables) -> Iterator[str]:
    wanted = {
        variables.owner_role: "",
        variables.runtime_role: "login",
        variables.system_role: "login",
    }
    for role, attributes in wanted.items():
        if state.roles.get(role) != attributes:
            yield f"role {role}"


def _schema_departs(state: State, inventory: Inventory) -> Iterator[str]:
    variables = inventory.variables
    apps = {variables.runtime_role, variables.system_role}
    owner, grants = state.schemas.get(variables.schema, ("", ()))
    if owner != variables.owner_role or set(grants) != {(app, "USAGE") for app in apps}:
        yield f"schema {variables.schema}"
    for name in inventory.schemas:
        if not _usable(state.schemas.get(name, ("", ())), apps, variables.owner_role):
            yield f"schema {name}"


def _usable(schema: tuple[str, Grants], apps: set[str], owner_role: str) -> bool:
    owner, grants = schema
    creators = {who for who, what in grants if what.startswith("CREATE")}
    users = {who for who, what in grants if what == "USAGE"}
    owned = owner == owner_role or (owner_role in users and owner_role in creators)
    return creators.isdisjoint({"", *apps}) and apps <= users and owned


def _function_departs(state: State, variables: RLSVariables) -> Iterator[str]:
    for name in ("current_tenant", "current_user_id"):
        found = state.helpers.get(name)
        if found is None:
            yield f"function {name}()"
            continue
        wanted, there = wanted_function(name, variables), found_function(found, variables)
        yield from (
            f"function {name}(): {aspect}" for aspect in wanted if wanted[aspect] != there[aspect]
        )


def _key_departs(state: State, variables: RLSVariables) -> Iterator[str]:
    if not variables.sealed:
        return
    found = state.relations.get(TableName(variables.schema, SEAL_KEYS))
    if found is None or found.owner != variables.owner_role or found.grants:
        yield f"table {variables.schema}.{SEAL_KEYS}"
