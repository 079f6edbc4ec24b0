"""Attack: whoever can write to arq's Redis, against arq's own worker in bursts."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.integrations.arq import ArqJobs, dump_json, load_json
from asgi_guard.integrations.jobs import JobGuard
from asgi_guard.tenancy import ContextEnvelope, EnvelopeKey, EnvelopeKeys, Status, use_context
from tests.support.redis_server import RedisServer
from tests.support.rls_fixtures import EventList
from tests.support.tenancy_world import ACME, GLOBEX, Directory, MovedClock, context, who

pytestmark = pytest.mark.redis


class Queue:
    """A queue that its attacker can read and write, and a worker that empties it."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self.clock = MovedClock(SYSTEM_CLOCK.now())
        self.members = Directory(("alice", ACME), ("bob", GLOBEX))
        self.ran: list[str] = []
        envelopes = ContextEnvelope(
            EnvelopeKeys([EnvelopeKey.generate()]),
            memberships=self.members,
            store=MemoryStore(),
            clock=self.clock,
        )
        self.jobs = ArqJobs(JobGuard(envelopes))

        @self.jobs.function(name="look", lifetime=600)
        async def look(ctx: Any, label: str) -> None:
            self.ran.append(f"{who()} {label}")

        @self.jobs.function(name="other")
        async def other(ctx: Any, label: str) -> None:
            self.ran.append(f"{who()} {label}")

        self.functions = [look, other]

    async def send(self, label: str = "hers", **options: Any) -> str:
        with use_context(context()):
            sent = await self.jobs.enqueue(self.pool, "look", label, **options)
        assert sent is not None
        return str(sent.job_id)

    async def read(self, job_id: str) -> dict[str, Any]:
        return load_json(await self.pool.get(f"arq:job:{job_id}"))

    async def write(self, job_id: str, message: Any) -> None:
        raw = message if isinstance(message, bytes) else dump_json(message)
        await self.pool.set(f"arq:job:{job_id}", raw)
        await self.pool.zadd(self.pool.default_queue_name, {job_id: 1})
        await self.pool.delete(f"arq:result:{job_id}", f"arq:retry:{job_id}")

    async def work(self) -> None:
        worker = Worker(
            functions=self.functions,
            redis_pool=self.pool,
            queue_name=self.pool.default_queue_name,
            burst=True,
            poll_delay=0.01,
            handle_signals=False,
            job_serializer=dump_json,
            job_deserializer=load_json,
        )
        await worker.main()


@pytest.fixture
async def queue(redis_server: RedisServer) -> AsyncIterator[Queue]:
    pool = await create_pool(
        RedisSettings.from_dsn(redis_server.url),
        job_serializer=dump_json,
        job_deserializer=load_json,
        default_queue_name=f"arq:{uuid4().hex}",
    )
    yield Queue(pool)
    await pool.aclose()


def reasons(events: EventList) -> list[str]:
    return [event.reason for event in events if event.name == "ENVELOPE_REFUSED"]


async def test_an_untouched_message_runs_once(queue: Queue, rls_events: EventList) -> None:
    """Control, and the plainest attack: the same bytes again, under the same and another id."""
    job_id = await queue.send()
    message = await queue.read(job_id)
    await queue.work()
    assert queue.ran == [f"{ACME} alice hers"]

    await queue.write(job_id, message)
    await queue.write("copied", message)
    await queue.work()

    assert len(queue.ran) == 1
    assert sorted(reasons(rls_events)) == ["envelope_used", "envelope_wrong_job_id"]


async def test_an_envelope_moves_to_no_other_work(queue: Queue, rls_events: EventList) -> None:
    """Other arguments, more of them, another job."""
    changes: list[dict[str, Any]] = [
        {"a": ["stolen"]},
        {"a": ["hers", "more"]},
        {"k": {"label": "stolen"}},
        {"f": "other"},
    ]
    for change in changes:
        job_id = await queue.send()
        message = await queue.read(job_id)
        envelope = message["k"]
        merged = {**message, **change}
        merged["k"] = {**envelope, **change.get("k", {})}
        await queue.write(job_id, merged)
    await queue.work()

    assert queue.ran == []
    assert sorted(reasons(rls_events)) == ["envelope_wrong_arguments"] * 3 + ["envelope_wrong_job"]


async def test_what_was_suspended_or_is_late_does_not_run(
    queue: Queue, rls_events: EventList
) -> None:
    """Between sending and running."""
    await queue.send()
    queue.members.put("alice", ACME, tenant=Status.SUSPENDED)
    await queue.work()
    queue.members.put("alice", ACME)
    await queue.send()
    queue.clock.time += 600
    await queue.work()

    assert queue.ran == []
    assert reasons(rls_events) == ["tenant_suspended", "envelope_expired"]


async def test_a_pickled_message_is_not_decoded(queue: Queue) -> None:
    """It would run code in the worker before anything could be looked at."""
    await queue.write("bomb", pickle.dumps(_Bomb()))
    await queue.send()

    await queue.work()

    assert _Bomb.went_off == []
    assert queue.ran == [f"{ACME} alice hers"]


class _Bomb:
    went_off: list[str] = []  # noqa: RUF012 - unpickling would fill it

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Bomb.went_off.append, ("boom",))


async def test_a_job_that_is_delivered_for_ever_runs_out(
    queue: Queue, rls_events: EventList
) -> None:
    """A message that is put back while it has never ended well: a bounded number of runs."""

    @queue.jobs.function(name="look", max_tries=1)
    async def look(ctx: Any, label: str) -> None:
        queue.ran.append(label)
        raise LookupError

    queue.functions = [look]
    job_id = await queue.send()
    message = await queue.read(job_id)
    for _ in range(27):
        await queue.write(job_id, message)
        await queue.work()

    assert len(queue.ran) == 25
    assert reasons(rls_events) == ["envelope_deliveries_exhausted"] * 2
