"""One statement on whatever guarded handle the caller's transaction is on."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from sqlalchemy import Connection, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session

from asgi_guard.errors import ConfigError
from asgi_guard.rls.binding.handles import is_guarded
from asgi_guard.rls.violations import not_enforced

__all__ = ["ask", "ask_sync"]

_ASYNC: Final = (AsyncSession, AsyncConnection, async_scoped_session)
_DRIVER: Final = (asyncpg.Connection, PoolConnectionProxy)
_SYNC: Final = (Session, Connection, scoped_session)
_NUMBERED: Final = re.compile(r"\$(\d)")


async def ask(db: Any, operation: str, sql: str, *values: object) -> Any:
    """Run one statement on *db* and return the first value of its answer.

    Args:
        db: A guarded ``AsyncSession``, ``AsyncConnection`` or asyncpg connection.
        operation: For errors.
        sql: With ``$1``, ``$2`` and so on for *values*.
        *values: At most nine.

    Raises:
        ConfigError: *db* is of another kind.
        RLSViolationError: *db* is not guarded, or there is no tenant (``RLS_NOT_ENFORCED``), or
            it works for another (``TENANT_MISMATCH``). Nothing was sent.
    """
    if isinstance(db, _DRIVER):
        _require_guarded(db, operation)
        return await db.fetchval(sql, *values)
    if isinstance(db, _ASYNC):
        _require_guarded(db, operation)
        return (await db.execute(_named(sql), _by_name(values))).scalar()
    raise ConfigError(
        operation,
        f"got a {type(db).__name__}",
        "Pass a guarded AsyncSession, AsyncConnection or asyncpg connection: the one that the "
        "transaction is on.",
    )


def ask_sync(db: Any, operation: str, sql: str, *values: object) -> Any:
    """Run one statement on a sync ``Session`` or ``Connection``; otherwise as `ask`.

    Raises:
        ConfigError: *db* is of another kind.
        RLSViolationError: As of `ask`.
    """
    if not isinstance(db, _SYNC):
        raise ConfigError(
            operation, f"got a {type(db).__name__}", "Pass a guarded Session or Connection."
        )
    _require_guarded(db, operation)
    return db.execute(_named(sql), _by_name(values)).scalar()


def _require_guarded(db: Any, operation: str) -> None:
    if not is_guarded(db):
        raise not_enforced(
            "the database handle is not guarded. Make it with guarded_engine or "
            "create_guarded_pool",
            reason="unguarded_handle",
            operation=operation,
        )


@lru_cache(maxsize=64)
def _named(sql: str) -> TextClause:
    # A colon of a quoted name is no parameter.
    return text(_NUMBERED.sub(r":p\1", sql.replace(":", r"\:")))


def _by_name(values: tuple[object, ...]) -> dict[str, object]:
    return {f"p{place}": value for place, value in enumerate(values, start=1)}
