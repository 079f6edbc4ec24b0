"""Guarded writes on record by themselves: no commit of a write without its audit record.

`Guard` calls `audit_writes` for each SQLAlchemy engine among ``GuardSettings.databases`` when there
is an ``audit``. Without one nothing here is loaded, and no statement pays for it.

With ``mode="required"`` the record is made inside the transaction where a sink is in the same
database, and is durable elsewhere before COMMIT is sent; what cannot be recorded is rolled back,
and its request answered with 503. With ``"best_effort"`` it is queued, and counted if dropped.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, Literal
from weakref import WeakKeyDictionary

from sqlalchemy import event
from sqlalchemy.engine import Connection, Dialect, Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from asgi_guard._internal.clock import SYSTEM_CLOCK, utc
from asgi_guard.audit_log import AuditLog
from asgi_guard.protocols import Clock, SecurityEvent
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import entered_context

__all__ = ["audit_databases", "audit_writes", "kind_of"]

_log = logging.getLogger("asgi_guard")
_WRITES: Final = "asgi_guard.audited_writes"
_KINDS: Final = frozenset({"write", "unknown", "commit"})
_MOST_TABLES: Final = 20

_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_READS: Final = re.compile(
    r"(?:[\s(]|--[^\n]*\n|/\*.*?\*/)*"
    r"(?:select|show|values|table|fetch|move|close|declare|savepoint|release|rollback|set"
    r"|begin|start|explain(?!\s+(?:\(|analy)))\b",
    re.IGNORECASE | re.DOTALL,
)
_ENDS: Final = re.compile(r"(?:^|;)\s*(?:commit|end|prepare\s+transaction)\b", re.IGNORECASE)
_CHANGES: Final = re.compile(r"\b(?:insert|update|delete|merge|truncate|into)\b", re.IGNORECASE)
_CALL: Final = re.compile(r"(?<![.\w])(?:\"?\w+\"?\s*\.\s*)?\"?(\w+)\"?\s*\(")
_QUOTED_CALL: Final = re.compile(r"\"\s*\(")
_LITERAL: Final = re.compile(r"'[^']*'")
_TABLE: Final = re.compile(
    r"\b(?:insert\s+into|merge\s+into|update(?:\s+only)?|delete\s+from(?:\s+only)?"
    r"|truncate(?:\s+table)?|copy)\s+([\w.\"]+)",
    re.IGNORECASE,
)
# What is spelled like a call and writes nothing; everything else is asked about.
# fmt: off
_HARMLESS: Final = frozenset(
    {
        "abs", "all", "and", "any", "array", "array_agg", "as", "avg", "between", "case", "cast",
        "coalesce", "count", "date_trunc", "distinct", "else", "except", "exists", "extract",
        "filter", "from", "greatest", "having", "in", "intersect", "is", "join", "json_agg",
        "jsonb_agg", "lateral", "least", "length", "like", "limit", "lower", "max", "min", "not",
        "now", "nullif", "numeric", "offset", "on", "or", "over", "partition", "round",
        "row_number", "select", "string_agg", "substring", "sum", "then", "trim", "union", "unnest",
        "upper", "using", "values", "varchar", "when", "where", "with",
    }
)
# fmt: on

# By dialect: an engine with execution options is another object with the same dialect and events.
_AUDITED: Final[WeakKeyDictionary[Dialect, list[AuditLog]]] = WeakKeyDictionary()

Kind = Literal["read", "write", "unknown", "commit"]


def audit_databases(databases: Iterable[object], audit: AuditLog, *, clock: Clock) -> None:
    """Do `audit_writes` for each SQLAlchemy engine among *databases*; say what it cannot do."""
    for database in databases:
        if isinstance(database, Engine | AsyncEngine):
            audit_writes(database, audit, clock=clock)
        else:
            _log.warning(
                "writes of a %s are not recorded by themselves: "
                "call audit.record(event, connection=connection)",
                type(database).__name__,
            )


def audit_writes(
    engine: Engine | AsyncEngine, audit: AuditLog, *, clock: Clock = SYSTEM_CLOCK
) -> None:
    """Record each transaction of *engine* that writes, as ``GUARDED_WRITE``; idempotent.

    The record names tenant, user, request and operation of the context, how many statements
    changed something, and the tables they named. A write inside a savepoint that was rolled back
    counts all the same. Call it once per engine and log.

    Args:
        engine: From `guarded_engine`.
        audit: Open, or opened before the first commit.
        clock: Where the record's time comes from.
    """
    inner = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
    writes = _Writes(audit, clock)
    if any(seen is audit for seen in _AUDITED.setdefault(inner.dialect, [])):
        return
    _AUDITED[inner.dialect].append(audit)
    event.listen(inner, "begin", _forget)
    event.listen(inner, "before_cursor_execute", writes.note)
    event.listen(inner, "commit", writes.record)


@lru_cache(maxsize=1024)  # an app sends the same few statements over and over
def kind_of(statement: str) -> Kind:
    """Tell whether *statement* changes rows: by its text, and when in doubt ``"unknown"``.

    A SELECT may call a function that writes: unless every call in it is known to be harmless, the
    database is asked when the transaction ends. Comments are believed only in front: what looks
    like one further on may be part of a text, with a call behind it. A view or an operator that
    writes is not seen.
    """
    if _ENDS.search(statement) or _ENDS.search(_COMMENT.sub(" ", statement)):
        return "commit"
    if not _READS.match(statement):
        return "write"
    calls = {found.lower() for found in _CALL.findall(statement)}
    doubtful = _CHANGES.search(statement) or _QUOTED_CALL.search(statement)
    return "read" if calls <= _HARMLESS and not doubtful else "unknown"


class _Writes:
    """What is done at the commit of an engine's transactions."""

    def __init__(self, audit: AuditLog, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock

    def note(
        self,
        connection: Connection,
        _cursor: Any,
        statement: str,
        _parameters: Any,
        _context: Any,
        _many: bool,  # noqa: FBT001 - SQLAlchemy's signature
    ) -> None:
        """Remember a statement that may write; one that commits by its text is recorded first.

        Raises:
            AuditUnavailableError: As `record`.
        """
        kind = kind_of(statement)
        if kind == "read":
            return
        noted = connection.info.setdefault(_WRITES, {})
        noted[kind] = noted.get(kind, 0) + 1
        for name in _tables(statement):
            noted[name] = 1
        if kind == "commit":
            self.record(connection)

    def record(self, connection: Connection) -> None:
        """Record the transaction that is about to be committed, if it writes.

        Raises:
            AuditUnavailableError: It cannot be recorded; it has been rolled back.
        """
        noted: dict[str, int] | None = connection.info.pop(_WRITES, None)
        context = entered_context()
        if not noted or context is None:  # without a context the binding refuses the commit
            return
        try:
            if not noted.get("write") and not _has_written(connection):
                return
            self._put(connection, self._event(context, noted))
        except BaseException:
            # SQLAlchemy takes a commit that raises for one that was sent, and would put the
            # connection back into its pool with the transaction open.
            connection.connection.rollback()
            raise

    def _put(self, connection: Connection, happened: SecurityEvent) -> None:
        if self._audit.mode == "best_effort":
            self._audit.emit(happened)
            return
        if connection.dialect.is_async:
            driver: Any = connection.connection.dbapi_connection
            driver.run_async(lambda raw: self._audit.record(happened, connection=raw))
            return
        self._audit.record_blocking(happened, connection=connection)

    def _event(self, context: UserExecutionContext, noted: dict[str, int]) -> SecurityEvent:
        tables = sorted(name for name in noted if name not in _KINDS)
        return SecurityEvent(
            name="GUARDED_WRITE",
            outcome="allowed",
            time=utc(self._clock.now()),
            request_id=context.request_id,
            tenant_id=context.tenant_id,
            user_id=context.user_id,
            session_id=context.session_id,
            auth_method=context.auth_method,
            operation=context.operation or None,
            client=context.client,
            trace_id=context.trace_id,
            details={
                "statements": noted.get("write", 0) or 1,
                "tables": ",".join(tables[:_MOST_TABLES]),
            },
        )


@lru_cache(maxsize=1024)
def _tables(statement: str) -> tuple[str, ...]:
    # Without literals: a word of somebody's text must not be told as a table's name.
    found = _TABLE.findall(_LITERAL.sub("''", _COMMENT.sub(" ", statement)))
    return tuple({name.replace('"', "")[:63] for name in found if name.lower() != "set"})


def _forget(connection: Connection) -> None:
    connection.info.pop(_WRITES, None)


def _has_written(connection: Connection) -> bool:
    """Ask whether the transaction has changed anything: only then it has an id of its own."""
    answer = connection.exec_driver_sql(
        "SELECT pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL"
    )
    connection.info.pop(_WRITES, None)
    return bool(answer.scalar())
