"""taskiq with a real worker: each task runs for its sender."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest
from taskiq import InMemoryBroker
from taskiq.serializers import PickleSerializer
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

from asgi_guard.errors import ConfigError, ContextMissingError
from asgi_guard.integrations.taskiq import TaskiqJobs
from asgi_guard.tenancy import use_context
from tests.support.jobs_fixtures import loaded
from tests.support.jobs_world import ALICE, BOB, JobsWorld, context, running

pytestmark = [pytest.mark.postgres, pytest.mark.redis]


@pytest.fixture(scope="module")
def module(jobs_world: JobsWorld) -> Iterator[Any]:
    with loaded(jobs_world, "tests.support.jobs_taskiq") as found:
        yield found


@pytest.fixture(scope="module")
def worker(jobs_world: JobsWorld, module: Any) -> Iterator[Any]:
    place = "tests.support.jobs_taskiq:broker"
    with running(
        jobs_world, "taskiq", "worker", place, "--workers", "1", "--shutdown-timeout", "0.1"
    ) as process:
        yield process


@pytest.fixture
async def tasks(module: Any) -> AsyncIterator[Any]:
    await module.broker.startup()
    yield module
    await module.broker.shutdown()


def label() -> str:
    return uuid4().hex


async def test_tasks_run_for_their_senders_one_after_the_other(
    jobs_world: JobsWorld, worker: Any, tasks: Any
) -> None:
    """One event loop does all three: none sees another's tenant."""
    first, second, third = label(), label(), label()
    with use_context(context(ALICE)):
        await tasks.look.kiq(first)
    with use_context(context(BOB)):
        await tasks.look.kiq(second)
    await tasks.bare.kiq(third)

    alice, bob, nobody = (jobs_world.wait(one) for one in (first, second, third))
    assert (alice["who"], alice["tenants"]) == (f"{ALICE} user-1 look", [ALICE])
    assert (bob["who"], bob["tenants"]) == (f"{BOB} user-1 look", [BOB])
    assert alice["place"] == bob["place"]
    assert nobody["who"] == "none"
    assert jobs_world.wait(third)["error"] == "ContextMissingError"


async def test_a_retry_keeps_its_sender(jobs_world: JobsWorld, worker: Any, tasks: Any) -> None:
    """Also where taskiq repeats the arguments as it had understood them."""
    name = label()
    with use_context(context(ALICE)):
        await tasks.again.kiq(name, "7")

    tries = [jobs_world.wait(name) for _ in range(2)]
    assert [one["tries"] for one in tries] == [0, 1]
    assert tries[1] == {"tries": 1, "number": 7, "who": f"{ALICE} user-1 again"}


async def test_a_task_sent_by_a_task_is_of_the_same_tenant(
    jobs_world: JobsWorld, worker: Any, tasks: Any
) -> None:
    """Sealed anew, for the other task."""
    name = label()
    with use_context(context(BOB)):
        await tasks.nested.kiq(name)

    assert jobs_world.wait(name)["tenants"] == [BOB]


async def test_without_a_context_nothing_is_sent(tasks: Any) -> None:
    """A task of nobody is refused where it is sent."""
    with pytest.raises(ContextMissingError):
        await tasks.look.kiq("x")


async def test_a_refusal_is_not_tried_again(jobs_world: JobsWorld, worker: Any, tasks: Any) -> None:
    """What was sent past the integration fails once, in taskiq's own way."""
    job_id = label()
    sender = ListQueueBroker(jobs_world.redis_url, queue_name=f"{jobs_world.name}:taskiq")
    sender.with_result_backend(tasks.broker.result_backend)

    @sender.task("fails", retry_on_error=True, max_retries=3)
    async def fails(label: str) -> None: ...

    await sender.startup()
    sent = await fails.kicker().with_task_id(job_id).kiq("x")
    result = await sent.wait_result(timeout=20, check_interval=0.05)
    await sender.shutdown()

    assert result.is_err
    assert "envelope_refused" in str(result.error)
    assert jobs_world.event(job_id) == ("ENVELOPE_REFUSED", "envelope_missing")
    assert jobs_world.redis.llen(jobs_world.key("event", job_id)) == 0
    assert jobs_world.redis.llen(f"{jobs_world.name}:taskiq") == 0


async def test_a_delay_counts_until_the_task_is_due(tasks: Any) -> None:
    """The label that taskiq's brokers read."""
    with use_context(context(ALICE)), pytest.raises(ConfigError, match="max_delay"):
        await tasks.look.kicker().with_labels(delay=90_000).kiq("x")


@pytest.mark.parametrize("part", ["messages", "results"])
def test_a_broker_that_would_unpickle_is_refused_at_set_up(
    jobs_world: JobsWorld, tasks: Any, part: str
) -> None:
    """Its Redis result backend pickles by default, and results are read where jobs were sent."""
    broker: Any = InMemoryBroker()
    if part == "messages":
        broker = broker.with_serializer(PickleSerializer())
    else:
        broker = ListQueueBroker(jobs_world.redis_url).with_result_backend(
            RedisAsyncResultBackend(jobs_world.redis_url)
        )

    with pytest.raises(ConfigError, match="serializer"):
        TaskiqJobs(broker, tasks.jobs._guard)
