"""Work on a shared connection that goes on when its caller hangs up.

Cancelled between a question and its answer, or in the middle of a handshake, a client must throw
its connection away. Not all do: seen were sockets left open until the server's authentication
timeout, with a place in the pool gone, and elsewhere answers that reached the next caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["Undisturbed"]

T = TypeVar("T")


class Undisturbed:
    """Runs coroutines to their end, whoever leaves; each must end by itself, in bounded time."""

    def __init__(self) -> None:
        self._running: set[asyncio.Future[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what *work* returns, or raise what it raises."""
        task = asyncio.ensure_future(work)
        self._running.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    async def finish(self) -> None:
        """Wait for the work whose callers have left."""
        await asyncio.gather(*self._running, return_exceptions=True)

    def _forget(self, task: asyncio.Future[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: else asyncio complains of one that nobody waits for
