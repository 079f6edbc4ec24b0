"""SQL conversations without I/O: a program yields statements and is sent what came back.

The catalog audit and the probe are written once, as such programs, and run on whatever the app
uses: SQLAlchemy engines and connections of both kinds, asyncpg pools and connections. Each
statement runs in a savepoint of its own, and everything is rolled back at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from asgi_guard.errors import ConfigError, NotReadyError

__all__ = ["Handle", "Outcome", "Program", "run_program"]

T = TypeVar("T")

Handle: TypeAlias = Any
"""An ``AsyncEngine``, ``AsyncConnection``, ``Engine``, asyncpg ``Pool`` or ``Connection``."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the database answered to one statement.

    Args:
        rows: The rows; empty for a statement that gives none.
        sqlstate: Why it was refused (PostgreSQL docs, appendix A), or None when it was not.
    """

    rows: tuple[tuple[Any, ...], ...] = ()
    sqlstate: str | None = None


Program: TypeAlias = Generator[str, Outcome, T]


async def run_program(handle: Handle, program: Program[T]) -> T:
    """Run *program* in one transaction of *handle* and roll that back.

    Raises:
        ConfigError: *handle* is of no known kind.
        NotReadyError: The database cannot be reached or does not let the role in.
    """
    if isinstance(handle, Engine):
        # psycopg's calls block; the copied context keeps the tenant in the thread.
        return await asyncio.to_thread(_run_engine, handle, program)
    if isinstance(handle, AsyncEngine | AsyncConnection):
        async with _opened(handle) as connection:
            result: T = await connection.run_sync(_run_connection, program)
            return result
    if isinstance(handle, asyncpg.Pool | asyncpg.Connection | PoolConnectionProxy):
        async with _opened(handle) as connection:
            return await _run_asyncpg(connection, program)
    raise ConfigError(
        "rls.handle",
        f"got a {type(handle).__name__}",
        "Pass an SQLAlchemy engine or connection, or an asyncpg pool or connection.",
    )


@asynccontextmanager
async def _opened(handle: Handle) -> AsyncIterator[Any]:
    if isinstance(handle, AsyncConnection | asyncpg.Connection | PoolConnectionProxy):
        yield handle
        return
    opening = handle.connect() if isinstance(handle, AsyncEngine) else handle.acquire()
    try:
        connection = await opening.__aenter__()
    except (OSError, TimeoutError, asyncpg.PostgresError, DBAPIError) as error:
        raise _unreachable(error) from None
    try:
        yield connection
    finally:
        await opening.__aexit__(None, None, None)


def _run_engine(engine: Engine, program: Program[T]) -> T:
    try:
        connection = engine.connect()
    except (OSError, DBAPIError) as error:
        raise _unreachable(error) from None
    with connection:
        return _run_connection(connection, program)


def _run_connection(connection: Connection, program: Program[T]) -> T:
    outer = connection.begin_nested() if connection.in_transaction() else connection.begin()
    try:
        outcome: Outcome | None = None
        while True:
            statement = next(program) if outcome is None else program.send(outcome)
            outcome = _ask(connection, statement)
    except StopIteration as finished:
        result: T = finished.value
        return result
    finally:
        outer.rollback()


def _ask(connection: Connection, statement: str) -> Outcome:
    savepoint = connection.begin_nested()
    try:
        # no_parameters: a "%" in the text is not a placeholder.
        answer = connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
        rows = tuple(tuple(row) for row in answer) if answer.returns_rows else ()
    except DBAPIError as error:
        sqlstate = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
        if sqlstate is None:
            raise _unreachable(error) from None
        savepoint.rollback()
        return Outcome(sqlstate=sqlstate)
    savepoint.commit()
    return Outcome(rows)


async def _run_asyncpg(connection: Any, program: Program[T]) -> T:
    outer = connection.transaction()
    await outer.start()
    try:
        outcome: Outcome | None = None
        while True:
            statement = next(program) if outcome is None else program.send(outcome)
            outcome = await _ask_asyncpg(connection, statement)
    except StopIteration as finished:
        result: T = finished.value
        return result
    finally:
        await outer.rollback()


async def _ask_asyncpg(connection: Any, statement: str) -> Outcome:
    try:
        async with connection.transaction():
            return Outcome(tuple(tuple(row) for row in await connection.fetch(statement)))
    except asyncpg.PostgresError as error:
        return Outcome(sqlstate=error.sqlstate)


def _unreachable(error: Exception) -> NotReadyError:
    # The driver's message names host, port and role; none of the drivers repeats a password.
    reason = getattr(error, "orig", None) or error
    return NotReadyError(
        "database_unreachable",
        f"The database did not let us in: {type(reason).__name__}: {reason}",
    )
