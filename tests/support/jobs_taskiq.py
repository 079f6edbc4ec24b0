"""A taskiq broker with guarded tasks, as a worker and as its senders load it."""

from __future__ import annotations

from typing import Any

from taskiq import SimpleRetryMiddleware
from taskiq.serializers import JSONSerializer
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

from asgi_guard.integrations.taskiq import TaskiqJobs
from tests.support.jobs_world import TENANTS_SEEN, JobsWorld, place, who

__all__ = ["broker", "jobs"]

world = JobsWorld.of_this_process()
results: Any = RedisAsyncResultBackend(world.redis_url, serializer=JSONSerializer())
broker = (
    ListQueueBroker(world.redis_url, queue_name=f"{world.name}:taskiq")
    .with_result_backend(results)
    .with_middlewares(SimpleRetryMiddleware(default_retry_count=3))
)
jobs = TaskiqJobs(broker, world.worker_guard("asyncpg"))


@jobs.task("look")
async def look(session: Any, label: str) -> str:
    tenants = list(await session.scalars(TENANTS_SEEN))
    world.tell(label, who=who(), tenants=tenants, place=place())
    return label


@broker.task("bare")
async def bare(label: str) -> None:
    """Not guarded: sees what a guarded one left behind."""
    world.tell(label, who=who())
    try:
        await look.kiq("never")
    except Exception as error:
        world.tell(label, error=type(error).__name__)


@jobs.task("again", retry_on_error=True, max_retries=3)
async def again(session: Any, label: str, number: int) -> None:
    """The number arrives as text: taskiq makes a number of it, and repeats the number."""
    tries = world.told_already(label + "-tries")
    world.tell(label + "-tries")
    world.tell(label, tries=tries, number=number, who=who())
    if tries == 0:
        raise LookupError


@jobs.task("fails", retry_on_error=True, max_retries=3)
async def fails(session: Any, label: str) -> None:
    world.tell(label, ran=True)


@jobs.task("nested")
async def nested(session: Any, label: str) -> None:
    await look.kiq(label)
