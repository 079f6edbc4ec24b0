"""A dramatiq broker with guarded actors, as a worker and as its senders load it."""

from __future__ import annotations

from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AsyncIO

from asgi_guard.integrations.dramatiq import DramatiqJobs
from asgi_guard.integrations.jobs import JobGuard
from tests.support.jobs_world import TENANTS_SEEN, JobsWorld, place, seen_by, who

__all__ = ["broker", "jobs"]

world = JobsWorld.of_this_process()
broker = RedisBroker(url=world.redis_url, namespace=f"{world.name}:dramatiq")
broker.add_middleware(AsyncIO())
dramatiq.set_broker(broker)
guard = world.worker_guard("psycopg")
jobs = DramatiqJobs(broker, guard)
async_jobs = DramatiqJobs(broker, JobGuard(guard.envelopes, db=world.engine("asyncpg")))
QUEUE = {"max_retries": 2, "min_backoff": 1, "max_backoff": 2}


@jobs.actor(**QUEUE)
def look(session: Any, label: str) -> str:
    world.tell(label, **seen_by(session))
    return label


@async_jobs.actor(**QUEUE)
async def look_async(session: Any, label: str) -> None:
    tenants = list(await session.scalars(TENANTS_SEEN))
    world.tell(label, who=who(), tenants=tenants, place=place())


@dramatiq.actor(**QUEUE)
def bare(label: str) -> None:
    """Not guarded: sees what a guarded one left behind."""
    world.tell(label, who=who())
    try:
        look.send("never")
    except Exception as error:
        world.tell(label, error=type(error).__name__)


@jobs.actor(**QUEUE)
def again(session: Any, label: str) -> None:
    tries = world.told_already(label + "-tries")
    world.tell(label + "-tries")
    world.tell(label, tries=tries, **seen_by(session))
    if tries == 0:
        raise LookupError


@jobs.actor(**QUEUE)
def fails(session: Any, label: str) -> None:
    world.tell(label, ran=True)


@jobs.actor(**QUEUE)
def nested(session: Any, label: str) -> None:
    look.send(label)
