"""An arq worker with guarded jobs; also run in the test's own process, in bursts."""

from __future__ import annotations

from typing import Any

from arq import Retry
from arq.connections import RedisSettings

from asgi_guard.integrations.arq import ArqJobs, dump_json, load_json
from tests.support.jobs_world import TENANTS_SEEN, JobsWorld, place, who

__all__ = ["WorkerSettings", "jobs"]

world = JobsWorld.of_this_process()
jobs = ArqJobs(world.worker_guard("asyncpg"))


@jobs.function(name="look")
async def look(ctx: Any, session: Any, label: str) -> str:
    tenants = list(await session.scalars(TENANTS_SEEN))
    world.tell(label, who=who(), tenants=tenants, place=place())
    return label


@jobs.function(name="again")
async def again(ctx: Any, session: Any, label: str) -> None:
    world.tell(label, tries=ctx["job_try"], who=who())
    if ctx["job_try"] == 1:
        raise Retry


@jobs.function(name="nested")
async def nested(ctx: Any, session: Any, label: str) -> None:
    await jobs.enqueue(ctx["redis"], "look", label)


async def bare(ctx: Any, label: str) -> None:
    """Not guarded: sees what a guarded one left behind."""
    world.tell(label, who=who())
    try:
        await jobs.enqueue(ctx["redis"], "look", "never")
    except Exception as error:
        world.tell(label, error=type(error).__name__)


class WorkerSettings:
    functions = (look, again, nested, bare)
    redis_settings = RedisSettings.from_dsn(world.redis_url)
    queue_name = f"{world.name}:arq"
    poll_delay = 0.02
    max_jobs = 1
    job_serializer = dump_json
    job_deserializer = load_json


jobs.check(WorkerSettings)
