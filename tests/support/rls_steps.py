"""Cancelling a coroutine at its n-th step: every await that really waits, one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any

__all__ = ["run_cancelled_at"]


class _Stepped:
    """Drives a coroutine and cancels the running task just before its n-th step."""

    def __init__(self, work: Coroutine[Any, Any, Any], step: int) -> None:
        self._work = work
        self._left = step

    def __await__(self) -> Generator[Any, Any, Any]:
        answer: Any = None
        error: BaseException | None = None
        while True:
            try:
                waited = self._work.throw(error) if error else self._work.send(answer)
            except StopIteration as stop:
                return stop.value
            error = None
            self._left -= 1
            if self._left == 0:
                task = asyncio.current_task()
                assert task is not None
                # As loop.call_soon would: the task is cancelled while it waits for *waited*.
                asyncio.get_running_loop().call_soon(task.cancel)
            try:
                answer = yield waited
            except BaseException as raised:
                error = raised


async def run_cancelled_at(step: int, work: Coroutine[Any, Any, Any]) -> bool:
    """Run *work* in a task of its own, cancelled at its *step*-th wait.

    Returns:
        Whether the step was reached; False when *work* had fewer and simply finished.
    """
    stepped = _Stepped(work, step)

    async def run() -> None:
        await stepped

    task = asyncio.create_task(run())
    await asyncio.wait([task])
    reached = stepped._left <= 0
    if not task.cancelled() and task.exception() is not None and not reached:
        raise task.exception()  # type: ignore[misc] # it is not None
    return reached
