"""What kinds of database handle there are, whether one is guarded, and whom it belongs to.

Decided once per type, so that `require_rls` can look at every argument of every call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from asyncpg.connection import Connection as AsyncpgConnection
from asyncpg.pool import Pool, PoolConnectionProxy
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
)
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from asgi_guard.errors import ConfigError
from asgi_guard.rls.binding.asyncpg_connection import GuardedConnection, guard_of
from asgi_guard.rls.binding.dbapi_engine import owner_of
from asgi_guard.rls.binding.pool import GuardedPool
from asgi_guard.rls.binding.registry import mark_of
from asgi_guard.rls.binding.session import tenant_of_session
from asgi_guard.rls.variables import RLSVariables

__all__ = ["Finding", "inspector_of", "is_guarded", "variables_of"]

# Kinds of the drivers themselves, by top-level module and class name: known, and never guarded.
_BARE_MODULES: Final = frozenset({"psycopg", "psycopg2", "psycopg_pool", "pg8000"})
_BARE_NAMES: Final = frozenset(
    {"Connection", "AsyncConnection", "connection", "ConnectionPool", "AsyncConnectionPool"}
)
_TYPES_REMEMBERED: Final = 512


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known about one handle.

    Args:
        variables: The names it is guarded with; None when it is not guarded.
        tenant_id: The tenant it is bound or held to at the moment, if any.
    """

    variables: RLSVariables | None
    tenant_id: str | None = None


_UNGUARDED: Final = Finding(None)


def is_guarded(handle: object) -> bool:
    """Tell whether *handle* sends nothing without a tenant.

    Args:
        handle: An engine, connection, session or session maker of SQLAlchemy, or an asyncpg
            pool or connection.

    Raises:
        ConfigError: It is none of these.
    """
    return _inspect(handle).variables is not None


def variables_of(handle: object) -> RLSVariables:
    """Give the names that *handle* was guarded with.

    Raises:
        ConfigError: It is no database handle, or not guarded.
    """
    variables = _inspect(handle).variables
    if variables is None:
        raise ConfigError(
            "rls.handle", "the handle is not guarded", "Use guarded_engine or create_guarded_pool."
        )
    return variables


def _inspect(handle: object) -> Finding:
    inspect = inspector_of(type(handle))
    if inspect is None:
        raise ConfigError(
            "rls.handle",
            f"a {type(handle).__name__} is no database handle",
            "Pass an engine, connection, session, session maker or pool.",
        )
    return inspect(handle)


def _find_inspector(kind: type) -> Callable[[Any], Finding] | None:
    for known, inspect in _INSPECTORS:
        if issubclass(kind, known):
            return inspect
    for ancestor in kind.__mro__:
        module = ancestor.__module__.partition(".")[0]
        if module in _BARE_MODULES and ancestor.__name__ in _BARE_NAMES:
            return _bare
    return None


def _bare(_handle: Any) -> Finding:
    return _UNGUARDED


def _engine(handle: Engine | AsyncEngine) -> Finding:
    mark = mark_of(handle)
    return _UNGUARDED if mark is None or mark.system else Finding(mark.variables)


def _connection(handle: Connection) -> Finding:
    found = _engine(handle.engine)
    if found.variables is None or handle.closed or not handle.in_transaction():
        return found
    guard = guard_of(handle.connection.driver_connection)
    if guard is not None:
        return Finding(found.variables, guard.tenant_id)
    owner = owner_of(handle)
    return Finding(found.variables, None if owner is None else owner.tenant_id)


def _async_connection(handle: AsyncConnection) -> Finding:
    if handle.sync_connection is None:  # not started yet
        return _engine(handle.engine)
    return _connection(handle.sync_connection)


def _session(handle: Session) -> Finding:
    variables = None
    for bind in _binds(handle):
        found = _connection(bind) if isinstance(bind, Connection) else _engine(bind)
        if found.variables is None:
            return _UNGUARDED
        variables = found.variables
    return Finding(variables, tenant_of_session(handle))


def _binds(session: Session) -> list[Engine | Connection]:
    several: dict[Any, Engine | Connection] = getattr(session, "_Session__binds", {})
    return list(several.values()) if session.bind is None else [session.bind, *several.values()]


def _async_session(handle: AsyncSession) -> Finding:
    return _session(handle.sync_session)


def _maker(handle: Any) -> Finding:
    options = handle.kw
    binds = [options.get("bind"), *(options.get("binds") or {}).values()]
    findings = [_inspect(bind) for bind in binds if bind is not None]
    if not findings or any(found.variables is None for found in findings):
        return _UNGUARDED
    return findings[0]


def _scoped(handle: Any) -> Finding:
    return _inspect(handle())


def _pool(handle: Pool) -> Finding:
    return Finding(handle.variables) if isinstance(handle, GuardedPool) else _UNGUARDED


def _asyncpg(handle: Any) -> Finding:
    guard = guard_of(handle)
    if guard is None:
        return _UNGUARDED
    return Finding(guard.clauses.variables, guard.tenant_id)


_INSPECTORS: Final[tuple[tuple[type, Callable[[Any], Finding]], ...]] = (
    (AsyncSession, _async_session),
    (Session, _session),
    (AsyncEngine, _engine),
    (Engine, _engine),
    (AsyncConnection, _async_connection),
    (Connection, _connection),
    (async_sessionmaker, _maker),
    (sessionmaker, _maker),
    (async_scoped_session, _scoped),
    (scoped_session, _scoped),
    (GuardedConnection, _asyncpg),
    (PoolConnectionProxy, _asyncpg),
    (AsyncpgConnection, _asyncpg),
    (Pool, _pool),
)

inspector_of: Final[Callable[[type], Callable[[Any], Finding] | None]] = lru_cache(
    maxsize=_TYPES_REMEMBERED
)(_find_inspector)
"""Give the function that inspects handles of a type; None when it is no handle."""
