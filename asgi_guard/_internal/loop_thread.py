"""LoopThread: an event loop for code that has none, such as a worker's threads and processes."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["LoopThread"]

T = TypeVar("T")


class LoopThread:
    """One event loop in a daemon thread, started with the first call; a forked child starts anew.

    Clients that belong to a loop (asyncpg's and redis-py's connections) may be used through it,
    as long as nothing else uses them on another loop.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        _threads.add(self)

    def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what the coroutine that *make* makes returns, or raise what it raises.

        It runs in an empty `contextvars` context: the loop is nobody's request. When the wait is
        broken off (a worker's time limit), the coroutine is cancelled.
        """
        future = contextvars.Context().run(
            lambda: asyncio.run_coroutine_threadsafe(make(), self._started())
        )
        try:
            return future.result()
        except BaseException:
            future.cancel()  # nothing, once it is done
            raise

    def close(self) -> None:
        """End the thread; the next `run` starts another."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=_serve, args=(self._loop,), name=self._name, daemon=True
                ).start()
            return self._loop

    def _forget(self) -> None:
        self._lock = threading.Lock()  # another thread of the parent may have held it
        self._loop = None  # its thread stayed with the parent


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


_threads: weakref.WeakSet[LoopThread] = weakref.WeakSet()


def _start_afresh() -> None:
    for thread in list(_threads):
        thread._forget()  # noqa: SLF001 - its own module


os.register_at_fork(after_in_child=_start_afresh)
