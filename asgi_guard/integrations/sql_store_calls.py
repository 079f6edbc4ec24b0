"""One statement at a time, bounded, in autocommit, with failures in our own words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from sqlalchemy import CursorResult, Executable
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from asgi_guard._internal.undisturbed import Undisturbed
from asgi_guard.errors import UnavailableError

__all__ = ["StoreCalls"]

T = TypeVar("T")


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
        self._undisturbed = Undisturbed()

    async def finish(self) -> None:
        """Wait for statements whose callers have left."""
        await self._undisturbed.finish()

    async def run(self, statement: Executable, parameters: Mapping[str, Any]) -> CursorResult[Any]:
        """Send one statement; its rows are read already.

        Raises:
            UnavailableError: It failed, or took too long.
        """

        async def send(connection: AsyncConnection) -> CursorResult[Any]:
            result: CursorResult[Any] = await connection.execute(statement, parameters)
            return result

        return await self.connected(send)

    async def connected(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Return what *work* returns, given a connection of its own.

        Raises:
            UnavailableError: It failed, or took too long.
        """
        try:
            return await self._undisturbed.run(self._bounded(work))
        except TimeoutError:
            refusal = UnavailableError("sql_store_timeout")
        except Exception as failure:  # noqa: BLE001 - drivers have errors outside SQLAlchemy's tree
            refusal = UnavailableError("sql_store_failed")
            refusal.add_note(f"The database said: {_kind(failure)}")
        raise refusal  # here, where no error is being handled that would be printed with it

    async def _bounded(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async with asyncio.timeout(self._timeout), self._engine.connect() as connection:
            return await work(connection)


def _kind(failure: BaseException) -> str:
    """Name a failure by its classes, for its text holds values."""
    driver = getattr(failure, "orig", None)
    names = [type(each).__name__ for each in (failure, driver) if each is not None]
    state = getattr(driver, "sqlstate", None)
    return ", ".join([*names, f"SQLSTATE {state}"] if state else names)
