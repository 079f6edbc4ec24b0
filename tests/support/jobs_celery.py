"""A Celery app with guarded tasks, as a worker and as its senders load it."""

from __future__ import annotations

from typing import Any

from celery import Celery

from asgi_guard.integrations.celery import CeleryJobs
from tests.support.jobs_world import JobsWorld, seen_by, who

__all__ = ["app", "jobs"]

world = JobsWorld.of_this_process()
app = Celery("jobs", broker=world.redis_url, backend=world.redis_url)
app.conf.update(
    accept_content=["json"],
    task_default_queue=world.name,
    broker_transport_options={"global_keyprefix": world.name},
    result_backend_transport_options={"global_keyprefix": world.name},
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=0,  # with threads and 1 Celery may stop reading
    task_acks_late=True,
    task_reject_on_worker_lost=True,
)
jobs = CeleryJobs(app, world.worker_guard("psycopg"))


@jobs.task(name="look")
def look(session: Any, label: str) -> str:
    world.tell(label, **seen_by(session))
    return label


@app.task(name="bare")
def bare(label: str) -> None:
    """Not guarded: sees what a guarded one left behind."""
    world.tell(label, who=who())
    try:
        look.delay("never")
    except Exception as error:
        world.tell(label, error=type(error).__name__)


@jobs.task(name="again", bind=True, max_retries=2)
def again(task: Any, session: Any, label: str) -> str:
    world.tell(label, retries=task.request.retries, **seen_by(session))
    if task.request.retries == 0:
        raise task.retry(countdown=0)
    return label


@jobs.task(name="fails", autoretry_for=(Exception,), retry_backoff=False, max_retries=3)
def fails(session: Any, label: str) -> None:
    world.tell(label, ran=True)


@jobs.task(name="breaks")
def breaks(session: Any, label: str) -> None:
    raise LookupError


@jobs.task(name="nested")
def nested(session: Any, label: str) -> None:
    look.delay(label)


@jobs.task(name="gather")
def gather(session: Any, results: list[str], label: str) -> list[str]:
    world.tell(label, results=results, **seen_by(session))
    return results


@jobs.task(name="dies")
def dies(session: Any, label: str) -> None:
    import os  # noqa: PLC0415 - in the child
    import signal  # noqa: PLC0415 - as above

    world.tell(label, pid=os.getpid(), **seen_by(session))
    if world.told_already(label + "-dead") == 0:
        world.tell(label + "-dead")
        os.kill(os.getpid(), signal.SIGKILL)
