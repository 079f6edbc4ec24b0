"""SQLMemberships: memberships in a SQL database, through SQLAlchemy's async engine.

The look-up comes before any tenant is bound, so it runs on an engine of its own that is not
guarded, as a database role that may read the membership tables and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Executable, RowMapping, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.sql.elements import ClauseElement

from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.rls import is_guarded
from asgi_guard.tenancy.membership import Membership, Status

__all__ = ["SQLMemberships"]

_PARAMETERS: Final = frozenset({"user_id", "tenant_id"})
_COLUMNS: Final = frozenset({"role", "member_status", "tenant_status"})


class SQLMemberships:
    """Look a membership up with one statement of yours.

    ::

        SQLMemberships(
            engine,
            statement='''
                SELECT m.role, m.status AS member_status, t.status AS tenant_status
                FROM memberships AS m JOIN tenants AS t ON t.id = m.tenant_id
                WHERE m.user_id = :user_id AND m.tenant_id = CAST(:tenant_id AS uuid)
            ''',
        )

    Args:
        engine: Not guarded: no tenant is bound yet.
        statement: SQL text or a SQLAlchemy statement with the parameters ``user_id`` and
            ``tenant_id``. It returns a row per role, with the columns ``role`` (may be NULL),
            ``member_status`` and ``tenant_status``; no row means no membership.
        timeout: Seconds that one look-up may take, waiting for a connection included.

    Raises:
        ConfigError: The engine is not async or is guarded, a parameter is missing, or the timeout
            is not positive.

    A status other than active, suspended and deleted counts as suspended. Of several rows the
    strictest status holds. Remembers nothing: put a `CachedMemberships` before it.
    """

    def __init__(
        self, engine: AsyncEngine, *, statement: str | Executable, timeout: float = 5.0
    ) -> None:
        if not isinstance(engine, AsyncEngine):
            raise ConfigError(
                "SQLMemberships.engine",
                f"is a {type(engine).__name__}",
                "Pass an AsyncEngine, from sqlalchemy.ext.asyncio.create_async_engine.",
            )
        if is_guarded(engine):
            raise ConfigError(
                "SQLMemberships.engine",
                "is guarded, and memberships are looked up before any tenant is bound",
                "Pass create_async_engine(...) of a role that may read the membership tables only.",
            )
        if not timeout > 0:
            raise ConfigError("SQLMemberships.timeout", f"is {timeout!r}", "Pass more than 0.")
        self._engine = engine
        self._statement = text(statement) if isinstance(statement, str) else statement
        self._timeout = timeout
        _check_parameters(self._statement)

    async def lookup(self, user_id: str, tenant_id: str) -> Membership | None:
        """Return what *user_id* is in *tenant_id*, or None.

        Raises:
            UnavailableError: The database did not answer in time, or not with these columns.
        """
        try:
            rows = await self._rows(user_id, tenant_id)
        except (SQLAlchemyError, OSError) as failure:  # TimeoutError is an OSError
            raise UnavailableError("memberships_unreachable") from failure
        if not rows:
            return None
        if not rows[0].keys() >= _COLUMNS:
            raise UnavailableError("membership_columns_missing")
        return Membership(
            roles=frozenset(str(row["role"]) for row in rows if row["role"] is not None),
            member_status=_strictest(rows, "member_status"),
            tenant_status=_strictest(rows, "tenant_status"),
        )

    async def _rows(self, user_id: str, tenant_id: str) -> Sequence[RowMapping]:
        async with asyncio.timeout(self._timeout), self._engine.connect() as connection:
            result = await connection.execute(
                self._statement, {"user_id": user_id, "tenant_id": tenant_id}
            )
            return result.mappings().all()


def _strictest(rows: Sequence[RowMapping], column: str) -> Status:
    found = {Status.parse(row[column]) for row in rows}
    for status in (Status.DELETED, Status.SUSPENDED):
        if status in found:
            return status
    return Status.ACTIVE


def _check_parameters(statement: Executable) -> None:
    names: frozenset[str] = frozenset()
    if isinstance(statement, ClauseElement):
        names = frozenset(statement.compile().params)
    missing = _PARAMETERS - names
    if missing:
        raise ConfigError(
            "SQLMemberships.statement",
            f"has no parameter {' and no '.join(sorted(missing))}",
            "Compare with :user_id and :tenant_id.",
        )
