"""What a policy's expression is: the tenant comparison to the letter, or which departure from it.

An allow-list: PostgreSQL prints the one comparison that we write in a few spellings, and whatever
prints otherwise, or rests on an operator, type, table or function that is not in it, is a finding.
The sorting into codes after that tells an operator what to look for; it decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import product
from typing import Final

from asgi_guard.rls.catalog.snapshot import Policy
from asgi_guard.rls.ddl.names import TableName, identifier
from asgi_guard.rls.variables import RLSVariables

__all__ = ["departure", "is_tenant_predicate"]

_CONSTANT: Final = re.compile(
    r"\(?\s*(true|1 = 1|\(?NOT false\)?|'t'::boolean)\s*\)?", re.IGNORECASE
)
_OR_NULL: Final = re.compile(r"\bOR\b.*\bIS NULL\b|\bIS NULL\b.*\bOR\b", re.DOTALL)
_OR: Final = re.compile(r"\bOR\b|\bANY\b|\bIN\b")
_NEGATED: Final = re.compile(r"<>|!=|\bNOT\b|IS DISTINCT FROM|[<>]")
_PARTIAL: Final = re.compile(
    r"~|\bLIKE\b|\^@|\b(starts_with|left|right|substr|substring|strpos|position|split_part|lower"
    r"|upper|trim|btrim|md5|regexp_\w+)\b|\"(left|right|substring|position)\"",
    re.IGNORECASE,
)
_DEFAULTS: Final = re.compile(r"\b(COALESCE|CASE|GREATEST|LEAST)\b")
_SETTING: Final = re.compile(r"current_setting\('([^']+)'")


def is_tenant_predicate(expression: str | None, policy: Policy, variables: RLSVariables) -> bool:
    """Tell whether *expression* is the tenant comparison and nothing else.

    The name of the function is printed without its schema when the search path finds it, and an
    operator of the same name likewise, so what they are comes from the catalog's dependencies.
    """
    if expression is None or policy.functions != (f"{variables.schema}.current_tenant",):
        return False
    if policy.others or policy.tables:
        return False
    return re.sub(r"\s+", "", expression) in _spellings(variables)


def departure(
    expression: str, policy: Policy, variables: RLSVariables, writable: Callable[[TableName], bool]
) -> str:
    """Name the way in which *expression* departs from the comparison: a code of the audit."""
    helper = f"{variables.schema}.current_tenant"
    settings = set(_SETTING.findall(expression)) - {variables.setting}
    column = re.escape(identifier(variables.column))
    names_column = re.search(rf'(?<![\w"]){column}(?![\w"])', expression) is not None
    tests: Iterable[tuple[bool, str]] = (
        (any(writable(table) for table in policy.tables), "policy_trusts_writable"),
        (bool(policy.tables), "policy_reads_table"),
        (bool(policy.others), "policy_operator"),
        (_CONSTANT.fullmatch(expression) is not None, "policy_open"),
        (_OR_NULL.search(expression) is not None, "policy_or_null"),
        (bool(settings), "policy_or_setting"),
        (_DEFAULTS.search(expression) is not None, "policy_default_tenant"),
        (_PARTIAL.search(expression) is not None, "policy_prefix"),
        (_OR.search(expression) is not None, "policy_or_flag"),
        ("AND" in expression, "policy_unrecognised"),
        (_NEGATED.search(expression) is not None, "policy_inverted"),
        (bool(set(policy.functions) - {helper}), "policy_function"),
        (not names_column, "policy_other_column"),
    )
    return next((code for holds, code in tests if holds), "policy_unrecognised")


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
