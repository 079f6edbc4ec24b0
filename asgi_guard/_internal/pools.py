"""BoundedPool: threads for work that would stall the event loop, and a bound on who may wait.

An executor's queue has no end: a flood of logins fills memory, and each caller waits behind all
of it long after it hung up. Here a full queue is an error at once, a job whose caller has gone is
skipped when its turn comes, and a forked worker starts threads of its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from asgi_guard.errors import ConfigError, UnavailableError

__all__ = ["BoundedPool"]

T = TypeVar("T")


class BoundedPool:
    """Run functions in at most *workers* threads, while at most *queue* more wait.

    Args:
        name: Prefix of the threads' names, and of the settings in messages.
        workers: How many run at once. The work should release the interpreter's lock, as
            Argon2, bcrypt and RSA do; else the loop waits all the same.
        queue: How many may wait for a thread. A job counts from `run` until its turn is over,
            also when its caller has gone.
        full: Reason of the error when the queue is full.

    Raises:
        ConfigError: *workers* is not positive, or *queue* negative.

    Threads start with the first job. Usable from any number of event loops and threads.
    """

    def __init__(self, name: str, *, workers: int, queue: int, full: str) -> None:
        if workers < 1:
            raise ConfigError(f"{name}.workers", f"is {workers!r}", "Pass at least 1.")
        if queue < 0:
            raise ConfigError(f"{name}.queue", f"is {queue!r}", "Pass 0 or more.")
        self._name = name
        self._workers = workers
        self._queue = queue
        self._full = full
        self._executor: ThreadPoolExecutor | None = None
        self._pending = 0
        self._lock = threading.Lock()
        _pools.add(self)

    @property
    def pending(self) -> int:
        """How many jobs run or wait now."""
        return self._pending

    async def run(self, job: Callable[[], T]) -> T:
        """Return what *job* returns, or raise what it raises.

        It runs in an empty `contextvars` context: a pool's thread is nobody's request.

        Raises:
            UnavailableError: As many jobs wait as may.
        """
        ticket = _Ticket()
        self._enter()
        try:
            future = self._threads().submit(self._work, job, ticket)
        except BaseException:
            self._leave()
            raise
        try:
            # Shielded: a cancelled future would give its place back while it is still in line.
            return await asyncio.shield(asyncio.wrap_future(future))
        finally:
            ticket.abandoned = True  # harmless once the job is done

    def close(self) -> None:
        """Let the threads end after the jobs they have; the next `run` starts new ones."""
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False)

    def _work(self, job: Callable[[], T], ticket: _Ticket) -> T:
        try:
            if ticket.abandoned:
                raise UnavailableError("caller_gone")
            return contextvars.Context().run(job)
        finally:
            self._leave()

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self._workers, f"asgi-guard-{self._name}")
            return self._executor

    def _enter(self) -> None:
        with self._lock:
            if self._pending >= self._workers + self._queue:
                raise UnavailableError(self._full)
            self._pending += 1

    def _leave(self) -> None:
        with self._lock:
            self._pending -= 1

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._pending = 0
        self._executor = None


class _Ticket:
    """Whether anybody still waits for a job."""

    __slots__ = ("abandoned",)

    def __init__(self) -> None:
        self.abandoned = False


_pools: weakref.WeakSet[BoundedPool] = weakref.WeakSet()


def _start_afresh() -> None:
    # The child has the parent's counts and locks, and none of its threads.
    for pool in list(_pools):
        pool._forget()  # noqa: SLF001 - its own module


os.register_at_fork(after_in_child=_start_afresh)
