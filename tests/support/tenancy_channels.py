"""The ways in which code of one request runs, as probes that a handler of any host can call.

Each probe is called inside an async handler and tells who the code at the end of its way ran
for. Ways that only a host has (a streaming body, a background task) are in `tenancy_hosts`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

from asgiref.sync import async_to_sync, sync_to_async

from asgi_guard.errors import ContextMissingError
from asgi_guard.tenancy import propagate, require_context
from tests.support.tenancy_world import who

__all__ = ["PROBES", "REFUSED", "guarded_who"]

REFUSED = "refused"

Probe = Callable[[], Awaitable[str]]


def guarded_who() -> str:
    """Do what guarded work does: ask for the context, and refuse without one."""
    try:
        require_context("probe")
    except ContextMissingError:
        return REFUSED
    return who()


async def _later() -> str:
    await asyncio.sleep(0)
    return guarded_who()


async def async_handler() -> str:
    return guarded_who()


async def after_await() -> str:
    return await _later()


async def create_task() -> str:
    return await asyncio.create_task(_later())


async def task_group() -> str:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_later()) for _ in range(3)]
    (seen,) = {task.result() for task in tasks}
    return seen


async def to_thread() -> str:
    return await asyncio.to_thread(guarded_who)


async def through_sync_to_async() -> str:
    return await sync_to_async(guarded_who)()


async def and_back_by_async_to_sync() -> str:
    def work() -> str:
        return async_to_sync(_later)()

    return await sync_to_async(work)()


def _thread(target: Callable[[], str]) -> str:
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.append(target()))
    thread.start()
    thread.join(10)
    return seen[0]


async def bare_thread() -> str:
    return await asyncio.to_thread(_thread, guarded_who)


async def propagated_thread() -> str:
    return await asyncio.to_thread(_thread, propagate(guarded_who))


async def bare_executor() -> str:
    return await asyncio.get_running_loop().run_in_executor(None, guarded_who)


async def propagated_executor() -> str:
    return await asyncio.get_running_loop().run_in_executor(None, propagate(guarded_who))


PROBES: dict[str, Probe] = {
    probe.__name__: probe
    for probe in (
        async_handler,
        after_await,
        create_task,
        task_group,
        to_thread,
        through_sync_to_async,
        and_back_by_async_to_sync,
        bare_thread,
        propagated_thread,
        bare_executor,
        propagated_executor,
    )
}
