"""A procrastinate app with guarded tasks, as a worker and as its senders load it."""

from __future__ import annotations

import os
from typing import Any

import procrastinate

from asgi_guard.integrations.procrastinate import ProcrastinateJobs
from tests.support.jobs_world import TENANTS_SEEN, JobsWorld, place, who

__all__ = ["app", "jobs"]

world = JobsWorld.of_this_process()
app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=os.environ["ASGI_GUARD_TEST_QUEUE"])
)
jobs = ProcrastinateJobs(app, world.worker_guard("asyncpg"))


@jobs.task(name="look")
async def look(session: Any, label: str) -> str:
    tenants = list(await session.scalars(TENANTS_SEEN))
    world.tell(label, who=who(), tenants=tenants, place=place())
    return label


@app.task(name="bare")
async def bare(label: str) -> None:
    """Not guarded: sees what a guarded one left behind."""
    world.tell(label, who=who())
    try:
        await jobs.defer_async(look, label="never")
    except Exception as error:
        world.tell(label, error=type(error).__name__)


@jobs.task(name="again", retry=3)
async def again(session: Any, label: str) -> None:
    tries = world.told_already(label + "-tries")
    world.tell(label + "-tries")
    world.tell(label, tries=tries, who=who())
    if tries == 0:
        raise LookupError


@jobs.task(name="fails", retry=True)
async def fails(session: Any, label: str) -> None:
    world.tell(label, ran=True)


@jobs.task(name="nested")
async def nested(session: Any, label: str) -> None:
    await jobs.defer_async(look, label=label)
