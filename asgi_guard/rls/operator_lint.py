"""Operator lint: conditions that lose their index under a policy, each with what keeps it.

PostgreSQL asks a policy before any condition that might tell about rows it was asked about, unless
the condition's function is marked LEAKPROOF (PostgreSQL docs, section 39.5). An index on ``LIKE``,
``jsonb @>`` or ``@@`` then goes unused, and the statement filters all of the tenant's rows.

Which operators these are is not listed here: each statement is parsed by the server itself, into
the body of a temporary function that is never called and rolled back, and the operators that the
parser chose are looked up in ``pg_operator``, ``pg_proc`` and ``pg_amop``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from asgi_guard.errors import NotReadyError
from asgi_guard.rls.binding import is_guarded, variables_of
from asgi_guard.rls.catalog.audit import nobody
from asgi_guard.rls.probe import ProbeTenants
from asgi_guard.rls.steps import Handle, Program, run_program
from asgi_guard.rls.variables import RLSVariables
from asgi_guard.tenancy.current import current_context, use_context

__all__ = ["OperatorFinding", "lint_operators", "stored_statements"]

_NAME: Final = "asgi_guard_operator_lint"
_EXPRESSION: Final = re.compile(r"\{(?:OPEXPR|SCALARARRAYOPEXPR) :opno (\d+) ")
_PYFORMAT: Final = re.compile(r"%\((\w+)\)s|%s")
_PARSED: Final = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|VALUES)\b", re.IGNORECASE)

_PREFIX: Final = (
    "A prefix: starts_with(column, 'x') or column ^@ 'x', with an index on (tenant, column "
    "text_pattern_ops). Anything else: an index that leads with the tenant bounds the filter."
)
_STORED: Final = (
    "Store what is asked for in a column of its own (GENERATED ALWAYS AS (...) STORED), compare it "
    "with =, and index (tenant, column)."
)
_SIDE_TABLE: Final = (
    "A table of (tenant, item, id) with = on the item, or an index that leads with the tenant, "
    "which bounds the filter to its rows."
)
_REWRITES: Final = {
    "~~": _PREFIX,
    "~": _PREFIX,
    "~~*": f"A stored lower-case column, then the same. {_PREFIX}",
    "~*": f"A stored lower-case column, then the same. {_PREFIX}",
    "@>": f"{_STORED} For arrays: {_SIDE_TABLE}",
    "?": _STORED,
    "@?": _STORED,
    "&&": _SIDE_TABLE,
    "<@": _SIDE_TABLE,
    "@@": _SIDE_TABLE,
    "=": _STORED,
}
_OTHERWISE: Final = (
    "An index that leads with the tenant bounds the filter to the tenant's rows. Marking the "
    "function LEAKPROOF keeps the index, and lets its errors and timing tell about other tenants'."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorFinding:
    """One condition of one statement that no index serves under a policy.

    Args:
        statement: As it was given.
        operator: With its types, e.g. ``"jsonb @> jsonb"``.
        function: The one that is not LEAKPROOF, e.g. ``"jsonb_contains"``.
        tables: Tables under row-level security that the statement names.
        rewrite: What keeps an index.
    """

    statement: str
    operator: str
    function: str
    tables: tuple[str, ...]
    rewrite: str

    def __str__(self) -> str:
        """Return the finding as a test's report shows it."""
        where = ", ".join(self.tables)
        return f"{self.operator} on {where} loses its index: {self.rewrite}\n    {self.statement}"


async def lint_operators(handle: Handle, statements: Iterable[str]) -> list[OperatorFinding]:
    """Say which conditions of *statements* lose their index under a policy.

    Args:
        handle: An engine, connection or pool, as for `audit_catalog`; the role needs TEMP on the
            database, as everybody has by default.
        statements: SQL with ``$1``, ``%s`` or ``%(name)s`` where values go: what SQLAlchemy
            compiled, or rows of ``pg_stat_statements``. Others than queries are passed over, and so
            are those that the server cannot parse without their values.

    Returns:
        One finding per statement and operator. Nothing is run, and nothing stays.

    Raises:
        NotReadyError: The database cannot be reached.
        ConfigError: *handle* is of no known kind.
    """
    wanted = list(dict.fromkeys(text for text in statements if _PARSED.match(text)))
    if current_context() is not None:
        return await run_program(handle, _program(wanted))
    # Guarded handles serve only whoever has a tenant; nothing here reads a row.
    variables = variables_of(handle) if is_guarded(handle) else RLSVariables()
    tenants = ProbeTenants.make(variables.tenant_id, None)
    with use_context(nobody(tenants, "lint_operators")):
        return await run_program(handle, _program(wanted))


async def stored_statements(handle: Handle, *, limit: int = 1000) -> list[str]:
    """Return the statements of this database that ``pg_stat_statements`` keeps, most called first.

    Raises:
        NotReadyError: The extension is not there, or the role may not read it.
    """
    return await run_program(handle, _stored(limit))


def _stored(limit: int) -> Program[list[str]]:
    found = yield (
        "SELECT n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n "
        "ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'"
    )
    if not found.rows:
        raise NotReadyError(
            "statements_unreadable",
            "pg_stat_statements is not installed here: CREATE EXTENSION pg_stat_statements, with "
            "shared_preload_libraries = 'pg_stat_statements'.",
        )
    schema = str(found.rows[0][0]).replace('"', '""')
    answer = yield (
        f'SELECT s.query FROM "{schema}".pg_stat_statements s '  # noqa: S608 - a quoted name
        "JOIN pg_catalog.pg_database d ON d.oid = s.dbid "
        "WHERE d.datname = pg_catalog.current_database() AND s.query NOT LIKE '<insufficient%' "
        f"ORDER BY s.calls DESC LIMIT {int(limit)}"
    )
    if answer.sqlstate is not None:
        raise NotReadyError(
            "statements_unreadable", f"pg_stat_statements: SQLSTATE {answer.sqlstate}."
        )
    return [str(row[0]) for row in answer.rows]


def _program(statements: list[str]) -> Program[list[OperatorFinding]]:
    findings = []
    for statement in statements:
        findings += yield from _one(statement)
    return findings


def _one(statement: str) -> Program[list[OperatorFinding]]:
    text = _numbered(statement).strip().rstrip(";")
    prepared = yield f"PREPARE {_NAME} AS {text}"
    if prepared.sqlstate is not None:
        return []
    types = yield (
        "SELECT parameter_types::pg_catalog.text[] FROM pg_catalog.pg_prepared_statements "  # noqa: S608 - our own name
        f"WHERE name = '{_NAME}'"
    )
    yield f"DEALLOCATE {_NAME}"  # outlives the transaction otherwise
    arguments = ", ".join(types.rows[0][0]) if types.rows else ""
    made = yield (
        f"CREATE OR REPLACE FUNCTION pg_temp.{_NAME}({arguments}) RETURNS void LANGUAGE sql "
        f"BEGIN ATOMIC {text}; END"
    )
    if made.sqlstate is not None:
        return []
    answer = yield _TREE
    yield f"DROP FUNCTION pg_temp.{_NAME}({arguments})"
    if not answer.rows:
        return []
    tree, tables = answer.rows[0][0], tuple(json.loads(answer.rows[0][1]))
    numbers = sorted(set(_compared(tree)))
    if not tables or not numbers:
        return []
    leaking = yield _LEAKING.format(numbers=", ".join(numbers))
    return [
        OperatorFinding(
            statement=statement,
            operator=operator,
            function=function,
            tables=tables,
            rewrite=_REWRITES.get(name, _OTHERWISE),
        )
        for operator, name, function in leaking.rows
    ]


def _compared(tree: str) -> Iterator[str]:
    """Give the operators of a node tree that a column is an operand of."""
    for found in _EXPRESSION.finditer(tree):
        depth, end = 0, found.start()
        while end < len(tree):
            depth += {"{": 1, "}": -1}.get(tree[end], 0)
            end += 1
            if depth == 0:
                break
        if "{VAR " in tree[found.start() : end]:
            yield found[1]


def _numbered(statement: str) -> str:
    """Write ``$1`` for each placeholder of the other drivers."""
    names: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        name = found[1] or f"?{len(names)}"
        return f"${names.setdefault(name, len(names) + 1)}"

    plain = _PYFORMAT.sub(number, statement)
    return plain.replace("%%", "%") if names else plain


_TREE: Final = """\
SELECT p.prosqlbody::pg_catalog.text, (
    SELECT COALESCE(pg_catalog.json_agg(DISTINCT n.nspname || '.' || c.relname), '[]')::text
    FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_class c ON c.oid = d.refobjid AND c.relrowsecurity
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid
      AND d.refclassid = 'pg_catalog.pg_class'::regclass)
FROM pg_catalog.pg_proc p
WHERE p.proname = 'asgi_guard_operator_lint' AND p.pronamespace = pg_catalog.pg_my_temp_schema()"""

# An index serves an operator of its class, or what its function's support makes of it.
_LEAKING: Final = """\
SELECT pg_catalog.format_type(o.oprleft, NULL) || ' ' || o.oprname || ' ' ||
    pg_catalog.format_type(o.oprright, NULL), o.oprname, p.proname
FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
WHERE o.oid IN ({numbers}) AND NOT p.proleakproof AND (p.prosupport <> 0 OR EXISTS (
    SELECT FROM pg_catalog.pg_amop a WHERE a.amopopr = o.oid AND a.amoppurpose = 's'))
ORDER BY 1"""
