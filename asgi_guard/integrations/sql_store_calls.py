"""One statement at a time, bounded, in autocommit, with failures in our own words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Connection, CursorResult, Executable
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from asgi_guard.errors import UnavailableError

__all__ = ["StoreCalls"]


class StoreCalls:
    """Runs the statements of a store on *engine*.

    Args:
        engine: Any asynchronous engine.
        timeout: Seconds for one statement, waiting for a connection included.

    What the driver says stays here: it quotes the statement's values, which are session data.
    """

    def __init__(self, engine: AsyncEngine, *, timeout: float) -> None:
        # Read committed by the statement itself, and one round trip instead of three.
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._timeout = timeout

    async def run(self, statement: Executable) -> CursorResult[Any]:
        """Send one statement; its rows are read already.

        Raises:
            UnavailableError: It failed, or took too long.
        """
        async with self._connection() as connection:
            result: CursorResult[Any] = await connection.execute(statement)
        return result

    async def run_sync(self, work: Callable[[Connection], object]) -> None:
        """Run SQLAlchemy's synchronous DDL.

        Raises:
            UnavailableError: It failed, or took too long.
        """
        async with self._connection() as connection:
            await connection.run_sync(work)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with asyncio.timeout(self._timeout), self._engine.connect() as connection:
                yield connection
        except TimeoutError:
            refusal = UnavailableError("sql_store_timeout")
        except Exception as failure:  # noqa: BLE001 - drivers have errors outside SQLAlchemy's tree
            refusal = UnavailableError("sql_store_failed")
            refusal.add_note(f"The database said: {_kind(failure)}")
        else:
            return
        raise refusal


def _kind(failure: BaseException) -> str:
    """Name a failure by its classes, for its text holds values."""
    driver = getattr(failure, "orig", None)
    names = [type(each).__name__ for each in (failure, driver) if each is not None]
    state = getattr(driver, "sqlstate", None)
    return ", ".join([*names, f"SQLSTATE {state}"] if state else names)
