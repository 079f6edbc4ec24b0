"""Checks of the functions that every policy asks: what they are, and whose."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from asgi_guard.rls.catalog.facts import Helper
from asgi_guard.rls.catalog.finding import Finding, make, script
from asgi_guard.rls.catalog.scope import AuditScope
from asgi_guard.rls.ddl.functions import current_tenant, helper_statements
from asgi_guard.rls.ddl.names import identifier, literal
from asgi_guard.rls.ddl.sealed import sealed_body
from asgi_guard.rls.ddl.tables import policy_statements
from asgi_guard.rls.variables import RLSVariables

__all__ = ["helpers", "schema_owner"]

_TENANT: Final = "current_tenant"
_USER: Final = "current_user_id"


class _Promise(NamedTuple):
    """How the functions of one kind of deployment are made."""

    language: str
    standard: bool
    definer: bool
    parallel: str
    settings: tuple[str, ...]
    whose: str


_PLAIN: Final = _Promise(
    "sql",
    standard=True,
    definer=False,
    parallel="s",
    settings=(),
    whose="It runs with its owner's rights, which policies need not, and cannot be inlined.",
)
_SEALED: Final = _Promise(
    "plpgsql",
    standard=False,
    definer=True,
    parallel="r",
    settings=("search_path=pg_catalog, pg_temp",),
    whose="It runs with the app's rights, which must not reach the keys of the seal.",
)


def helpers(scope: AuditScope) -> Iterator[Finding]:
    """The functions are there, are ours to the letter, and not the app's to replace."""
    variables = scope.inventory.variables
    for name in (_TENANT, _USER):
        found = scope.snapshot.helpers.get(name)
        if found is None:
            yield _missing(scope, name)
            continue
        yield from _owner(scope, found)
        if not found.callable:
            yield make(
                "helper_unusable",
                f"{identifier(variables.schema)}.{name}()",
                "The app may not call it: every statement fails, and somebody will take the "
                "policies away.",
                script(_mend(scope)),
            )
        yield from _departures(scope, found)
        if found.returns != _returns(name, variables) or found.set:
            yield make(
                "helper_type",
                f"{variables.schema}.{name}()",
                f"It returns {found.returns}, tenant ids are {_returns(name, variables)}: what is "
                "compared is converted first, and two ids may become one.",
                script(_mend(scope)),
            )


def schema_owner(scope: AuditScope) -> Iterator[Finding]:
    """The schema of the functions is the owner role's: whoever owns it may drop them."""
    variables = scope.inventory.variables
    for schema in scope.snapshot.schemas:
        if schema.name != variables.schema or schema.owner == variables.owner_role:
            continue
        yield make(
            "helper_schema_owner",
            schema.name,
            f"{schema.owner} owns the schema and may drop or replace what policies ask.",
            script(_mend(scope)),
            severity="error" if schema.owner in scope.reachable else "warning",
        )


def _missing(scope: AuditScope, name: str) -> Finding:
    # DROP FUNCTION … CASCADE took the columns' defaults along, and its policies (found apart).
    variables = scope.inventory.variables
    statements = helper_statements(variables)
    if name == _TENANT:
        statements += _defaults(scope)
    return make(
        "helper_missing",
        f"{identifier(variables.schema)}.{name}()",
        "The function that policies, defaults and triggers ask does not exist.",
        script(statements),
        severity="error" if name == _TENANT else "warning",
    )


def _owner(scope: AuditScope, found: Helper) -> Iterator[Finding]:
    variables = scope.inventory.variables
    named = f"{identifier(variables.schema)}.{found.name}()"
    remedy = script(_mend(scope))
    if found.owner in scope.selves:
        yield make(
            "helper_owned",
            named,
            f"The app's role {found.owner} owns the function, so one injected CREATE OR REPLACE "
            "answers for it.",
            remedy,
        )
    elif found.owner != variables.owner_role:
        yield make(
            "helper_owner",
            named,
            f"{found.owner} owns the function and may replace what it answers.",
            remedy,
            severity="error" if found.owner in scope.reachable else "warning",
        )


def _departures(scope: AuditScope, found: Helper) -> Iterator[Finding]:
    variables = scope.inventory.variables
    promise = _SEALED if variables.sealed else _PLAIN
    departures = (
        (found.language != promise.language or found.standard != promise.standard,
         "helper_language",
         "Names in its body are looked up at each call, in a path that the caller sets."),
        (not _answers(found, variables), "helper_body",
         "It answers something else than what was bound: a fixed or default tenant, say."),
        (found.definer != promise.definer, "helper_definer", promise.whose),
        (found.volatility != "s", "helper_volatility",
         "VOLATILE is asked per row; IMMUTABLE may be remembered, and answer for the one before."),
        (tuple(found.settings) != promise.settings, "helper_settings",
         (f"It runs under {', '.join(found.settings) or 'no settings'}, where what is bound may "
         "read otherwise.")),
        (found.leakproof or found.strict or found.parallel != promise.parallel,
         "helper_attributes",
         "LEAKPROOF is a promise that nobody checked; STRICT and PARALLEL decide when it runs."),
    )  # fmt: skip
    for departs, code, why in departures:
        if departs:
            named = f"{identifier(variables.schema)}.{found.name}()"
            yield make(code, named, why, script(_mend(scope)))


def _answers(found: Helper, variables: RLSVariables) -> bool:
    """Tell whether the body is the one that `ddl.functions` or `ddl.sealed` writes.

    A plain one is compared as PostgreSQL prints it: a name is printed as a built-in's only if it
    is one, or stands in front of one in the search path; then it is a dependency, and the
    server's own are none. A sealed one is kept as it was written.
    """
    if variables.sealed:
        written = sealed_body(variables, found.name)
        return set(found.rests_on) <= {"language plpgsql"} and found.body == written
    setting = variables.setting if found.name == _TENANT else variables.user_setting
    asked = f"NULLIF(current_setting({literal(setting)}::text,true),''::text)"
    wanted = {f"RETURN{asked}"}
    if _returns(found.name, variables) != "text":
        wanted = {f"RETURN({asked})::{_returns(found.name, variables)}"}
    return not found.rests_on and re.sub(r"\s+|pg_catalog\.", "", found.body) in wanted


def _returns(name: str, variables: RLSVariables) -> str:
    return variables.tenant_id.sql_type if name == _TENANT else "text"


def _defaults(scope: AuditScope) -> list[str]:
    variables = scope.inventory.variables
    return [
        f"ALTER TABLE {relation.name.sql} ALTER COLUMN {identifier(variables.column)} "
        f"SET DEFAULT {current_tenant(variables)}"
        for relation in scope.guarded
        if relation.has_column
    ]


def _mend(scope: AuditScope) -> list[str]:
    """Make the functions anew; one whose type changes is dropped, with what rests on it."""
    variables = scope.inventory.variables
    typed = [
        name
        for name, found in scope.snapshot.helpers.items()
        if found.returns != _returns(name, variables) or found.set
    ]
    schema = identifier(variables.schema)
    statements = [f"DROP FUNCTION {schema}.{name}() CASCADE" for name in typed]
    statements += helper_statements(variables)
    if _TENANT in typed:
        for relation in (*scope.guarded, *scope.children()):
            if relation.kind in "rp":
                statements += policy_statements(relation.name.sql, variables)
        statements += _defaults(scope)
    return statements
