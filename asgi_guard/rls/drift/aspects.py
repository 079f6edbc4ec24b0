"""What the database has, and what it should have, in the same words."""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

from asgi_guard.rls.catalog.policy_shapes import is_tenant_predicate
from asgi_guard.rls.catalog.snapshot import Policy
from asgi_guard.rls.ddl.functions import current_tenant
from asgi_guard.rls.ddl.names import literal
from asgi_guard.rls.ddl.sealed import sealed_body
from asgi_guard.rls.ddl.tables import PERMISSIVE, RESTRICTIVE, SYSTEM
from asgi_guard.rls.drift.state import (
    Aspects,
    FoundFunction,
    FoundPolicy,
    FoundRelation,
    Grants,
)
from asgi_guard.rls.variables import RLSVariables

__all__ = ["Kind", "found_function", "found_relation", "wanted_function", "wanted_relation"]

Kind: TypeAlias = Literal["guarded", "shared", "system_only", "view", "partition"]

_ROWS: Final = "DELETE, INSERT, SELECT, UPDATE"
_OURS: Final = frozenset({PERMISSIVE, RESTRICTIVE, SYSTEM})
_OF_TENANT: Final = "to the tenant's rows"
# What the app's role may do with a relation of each kind, and what the system role.
_RIGHTS: Final[dict[Kind, tuple[str, str]]] = {
    "guarded": (_ROWS, _ROWS),
    "shared": ("SELECT", _ROWS),
    "system_only": ("", _ROWS),
    "view": ("SELECT", "SELECT"),
    "partition": ("", ""),
}


def wanted_relation(
    kind: Kind, found: FoundRelation, variables: RLSVariables, *, index: bool
) -> Aspects:
    """Say what a relation of *kind* should have; *found* names its sequences.

    Args:
        kind: What it was declared as.
        found: What there is.
        variables: Names.
        index: The DDL writes an index that leads with the tenant.
    """
    runtime, system = _RIGHTS[kind]
    wanted = {
        "owner": variables.owner_role,
        "grants to PUBLIC": "",
        f"grants to {variables.runtime_role}": runtime,
        f"grants to {variables.system_role}": system,
        "grants on columns": "",
    }
    if kind == "view":
        return {**wanted, "security_invoker": "on"}
    if kind != "shared":
        wanted["row security"] = "enabled, forced"
        wanted[f"policy {SYSTEM}"] = f"PERMISSIVE * {variables.system_role}: true, true"
    if kind in {"guarded", "partition"}:
        for name, word in ((PERMISSIVE, "PERMISSIVE"), (RESTRICTIVE, "RESTRICTIVE")):
            to = f"{word} * {variables.runtime_role}"
            wanted[f"policy {name}"] = f"{to}: {_OF_TENANT}, {_OF_TENANT}"
    if kind == "guarded":
        wanted[f"column {variables.column}"] = "NOT NULL, the bound tenant by default"
        if index:
            wanted["index"] = "leads with the tenant"
    if kind in {"guarded", "system_only"}:
        for sequence, serial, _ in found.sequences:
            for role in (variables.runtime_role, variables.system_role):
                # An identity column draws without a right (see `sequence_statement`).
                wanted[f"sequence {sequence} to {role}"] = "USAGE" if serial else ""
            wanted[f"sequence {sequence} to PUBLIC"] = ""
    return wanted


def found_relation(
    kind: Kind, found: FoundRelation, variables: RLSVariables, *, index: bool
) -> Aspects:
    """Say the same of what there is, and of each further policy that lets our roles in."""
    roles = (variables.runtime_role, variables.system_role)
    told = {
        "owner": found.owner,
        "grants to PUBLIC": _granted(found.grants, ""),
        **{f"grants to {role}": _granted(found.grants, role) for role in roles},
        "grants on columns": ", ".join(found.column_grants),
    }
    if kind == "view":
        return {**told, "security_invoker": "on" if found.invoker else "off"}
    if kind != "shared":
        told["row security"] = _row_security(found)
    if kind == "guarded":
        told[f"column {variables.column}"] = _column(found, variables)
        if index:
            told["index"] = "leads with the tenant" if found.leads else "missing"
    if kind in {"guarded", "system_only"}:
        for sequence, _, grants in found.sequences:
            for role in roles:
                told[f"sequence {sequence} to {role}"] = _granted(grants, role)
            told[f"sequence {sequence} to PUBLIC"] = _granted(grants, "")
    for policy in found.policies:
        if policy.name in _OURS or _lets_in(policy, variables, kind):
            told[f"policy {policy.name}"] = _described(policy, variables)
    return told


def wanted_function(name: str, variables: RLSVariables) -> Aspects:
    """Say what a function that policies ask should be."""
    apps = (variables.runtime_role, variables.system_role)
    sealed = variables.sealed
    return {
        "owner": variables.owner_role,
        "kind": "plpgsql definer s r" if sealed else "sql invoker s s",
        "settings": "search_path=pg_catalog, pg_temp" if sealed else "",
        "returns": "text" if name == "current_user_id" else variables.tenant_id.sql_type,
        "body": "as written",
        "grants": ", ".join(sorted(f"{role}: EXECUTE" for role in apps)),
    }


def found_function(found: FoundFunction, variables: RLSVariables) -> Aspects:
    """Say the same of what there is."""
    strict = " strict" * found.strict + " leakproof" * found.leakproof + " set" * found.set
    rights = "definer" if found.definer else "invoker"
    return {
        "owner": found.owner,
        "kind": f"{found.language} {rights} {found.volatility} {found.parallel}{strict}",
        "settings": "; ".join(found.settings),
        "returns": found.returns,
        "body": "as written" if _answers(found, variables) else "another",
        "grants": ", ".join(sorted(f"{who or 'PUBLIC'}: {what}" for who, what in found.grants)),
    }


def _answers(found: FoundFunction, variables: RLSVariables) -> bool:
    if variables.sealed:
        return found.body == sealed_body(variables, found.name)
    tenant = found.name == "current_tenant"
    setting = variables.setting if tenant else variables.user_setting
    returns = variables.tenant_id.sql_type if tenant else "text"
    asked = f"NULLIF(current_setting({literal(setting)}::text,true),''::text)"
    wanted = f"RETURN{asked}" if returns == "text" else f"RETURN({asked})::{returns}"
    body = re.sub(r"\s+|pg_catalog\.", "", found.body)
    return found.standard and not found.rests_on and body == wanted


def _granted(grants: Grants, role: str) -> str:
    return ", ".join(sorted(what for who, what in grants if who == role))


def _row_security(found: FoundRelation) -> str:
    words = ("enabled" if found.enabled else "", "forced" if found.forced else "")
    return ", ".join(filter(None, words)) or "disabled"


def _column(found: FoundRelation, variables: RLSVariables) -> str:
    if found.tenant is None:
        return "missing"
    not_null, default = found.tenant
    bound = default in {current_tenant(variables), "current_tenant()"}
    words = ("NOT NULL" if not_null else "nullable", "the bound tenant by default" if bound else "")
    return ", ".join(filter(None, words))


def _lets_in(policy: FoundPolicy, variables: RLSVariables, kind: Kind) -> bool:
    """Tell whether a policy that is not ours lets one of our roles see or write rows."""
    ours = {"", variables.runtime_role, variables.system_role, variables.owner_role}
    return kind != "shared" and policy.permissive and not ours.isdisjoint(policy.roles)


def _described(policy: FoundPolicy, variables: RLSVariables) -> str:
    word = "PERMISSIVE" if policy.permissive else "RESTRICTIVE"
    using, check = (_expression(text, policy, variables) for text in (policy.using, policy.check))
    return f"{word} {policy.command} {', '.join(policy.roles) or 'PUBLIC'}: {using}, {check}"


def _expression(text: str | None, policy: FoundPolicy, variables: RLSVariables) -> str:
    seen = Policy(
        name=policy.name,
        permissive=policy.permissive,
        command=policy.command,
        applies=True,
        active=True,
        owners=False,
        using=policy.using,
        check=policy.check,
        functions=policy.functions,
        tables=policy.tables,
        others=policy.others,
    )
    if is_tenant_predicate(text, seen, variables):
        return _OF_TENANT
    return text or "nothing"
