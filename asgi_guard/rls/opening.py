"""Opening one unit of work on any kind of database handle, and ending it the right way.

What is opened here is committed when the block ends and rolled back when it raises. A handle
that is inside a transaction already (or holds unsaved objects) keeps it: ending it belongs to
whoever began it, so pending work is neither lost nor saved behind its owner's back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Final, TypeAlias

import asyncpg
from sqlalchemy import text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
)
from sqlalchemy.orm import Session, sessionmaker

from asgi_guard.errors import ConfigError
from asgi_guard.rls.binding.pool import GuardedPool
from asgi_guard.rls.verification import cannot_verify

__all__ = ["AsyncAsk", "SyncAsk", "open_async", "open_sync"]

AsyncAsk: TypeAlias = Callable[[str], Awaitable[Any]]
"""Sends one query in the opened transaction and gives its first row."""

SyncAsk: TypeAlias = Callable[[str], Any]

# After its block a session made here refuses, instead of beginning what nobody would end.
_OWN: Final[dict[str, Any]] = {"expire_on_commit": False, "close_resets_only": False}


def open_async(
    db: Any, *, operation: str, session_class: type[AsyncSession]
) -> AbstractAsyncContextManager[tuple[Any, AsyncAsk]]:
    """Open a unit of work on *db*; gives the handle to work with and a way to ask the database.

    Args:
        db: An ``AsyncEngine``, ``async_sessionmaker``, ``AsyncSession``, ``AsyncConnection``,
            asyncpg pool or connection.
        operation: For errors.
        session_class: What to make for an engine.

    Raises:
        ConfigError: *db* is none of these.
    """
    if isinstance(db, AsyncEngine):
        return _own_session(session_class(db, **_OWN), operation)
    if isinstance(db, async_sessionmaker):
        return _own_session(db(), operation)
    if isinstance(db, AsyncSession | AsyncConnection):
        return _joined(db, operation)
    if isinstance(db, GuardedPool):
        return _pooled(db, operation)
    if isinstance(db, asyncpg.Connection):
        return _driver(db, operation)
    raise ConfigError(
        operation,
        f"a {type(db).__name__} cannot be opened with 'async with'",
        "Use 'with' for sync engines and sessions.",
    )


@contextmanager
def open_sync(
    db: Any, *, operation: str, session_class: type[Session]
) -> Iterator[tuple[Any, SyncAsk]]:
    """Open a unit of work on a sync *db*, as `open_async` does on an async one.

    Args:
        db: An ``Engine``, ``sessionmaker``, ``Session`` or ``Connection``.
        operation: For errors.
        session_class: What to make for an engine.

    Raises:
        ConfigError: *db* is none of these.
    """
    if isinstance(db, Engine | sessionmaker):
        made = session_class(db, **_OWN) if isinstance(db, Engine) else db()
        with made as session, _ended_sync(session):
            yield session, _sync_ask(session, operation)
    elif isinstance(db, Session | Connection):
        if _is_busy(db):
            yield db, _sync_ask(db, operation)
            return
        with _ended_sync(db):
            yield db, _sync_ask(db, operation)
    else:
        raise ConfigError(
            operation,
            f"a {type(db).__name__} cannot be opened with 'with'",
            "Use 'async with' for async engines, sessions and pools.",
        )


@asynccontextmanager
async def _own_session(session: AsyncSession, operation: str) -> AsyncIterator[Any]:
    async with session, _ended(session):
        yield session, _async_ask(session, operation)


@asynccontextmanager
async def _joined(db: AsyncSession | AsyncConnection, operation: str) -> AsyncIterator[Any]:
    inner = db.sync_session if isinstance(db, AsyncSession) else db.sync_connection
    if inner is not None and _is_busy(inner):
        yield db, _async_ask(db, operation)
        return
    async with _ended(db):
        yield db, _async_ask(db, operation)


@asynccontextmanager
async def _pooled(pool: GuardedPool, operation: str) -> AsyncIterator[Any]:
    async with pool.acquire() as connection, connection.transaction():
        yield connection, _driver_ask(connection, operation)


@asynccontextmanager
async def _driver(connection: Any, operation: str) -> AsyncIterator[Any]:
    if connection.is_in_transaction():
        yield connection, _driver_ask(connection, operation)
        return
    async with connection.transaction():
        yield connection, _driver_ask(connection, operation)


@asynccontextmanager
async def _ended(unit: AsyncSession | AsyncConnection) -> AsyncIterator[None]:
    try:
        yield
        await unit.commit()
    except BaseException:
        await unit.rollback()
        raise


@contextmanager
def _ended_sync(unit: Session | Connection) -> Iterator[None]:
    try:
        yield
        unit.commit()
    except BaseException:
        unit.rollback()
        raise


def _is_busy(unit: Session | Connection) -> bool:
    if unit.in_transaction():
        return True
    return isinstance(unit, Session) and bool(unit.new or unit.dirty or unit.deleted)


def _async_ask(unit: AsyncSession | AsyncConnection, operation: str) -> AsyncAsk:
    async def ask(query: str) -> Any:
        try:
            # Through the connection: asking must not flush the caller's unsaved objects.
            used = await unit.connection() if isinstance(unit, AsyncSession) else unit
            return (await used.execute(text(query))).first()
        except DBAPIError as error:
            raise _told(error, operation) from error

    return ask


def _sync_ask(unit: Session | Connection, operation: str) -> SyncAsk:
    def ask(query: str) -> Any:
        try:
            used = unit.connection() if isinstance(unit, Session) else unit
            return used.execute(text(query)).first()
        except DBAPIError as error:
            raise _told(error, operation) from error

    return ask


def _driver_ask(connection: Any, operation: str) -> AsyncAsk:
    async def ask(query: str) -> Any:
        try:
            return await connection.fetchrow(query)
        except asyncpg.PostgresConnectionError:
            raise
        except asyncpg.PostgresError as error:
            raise cannot_verify(operation) from error

    return ask


def _told(error: DBAPIError, operation: str) -> Exception:
    return error if error.connection_invalidated else cannot_verify(operation)
