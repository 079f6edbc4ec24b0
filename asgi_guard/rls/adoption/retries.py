"""Trying again where live writes were in the way, instead of making them wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import asyncpg

from asgi_guard.errors import NotReadyError

__all__ = ["retried"]

T = TypeVar("T")

_TRIES: Final = 400
_PAUSE: Final = 0.1  # seconds: the queue behind our lock request drains meanwhile
_IN_THE_WAY: Final = (
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
)


async def retried(work: Callable[[], Awaitable[T]]) -> T:
    """Run *work*, again while a lock cannot be had.

    Raises:
        NotReadyError: It could not be had in all tries; nothing was changed.
    """
    for _ in range(_TRIES):
        try:
            return await work()
        except _IN_THE_WAY:
            await asyncio.sleep(_PAUSE)
    raise NotReadyError(
        "adoption_locked",
        "A lock could not be had: something holds the table for long. Run again later; what was "
        "done stays done.",
    )
