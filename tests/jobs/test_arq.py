"""arq with a real worker: each job runs for its sender."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from arq import create_pool

from asgi_guard.errors import ConfigError, ContextMissingError
from asgi_guard.integrations.arq import ArqJobs, dump_json, load_json
from asgi_guard.tenancy import use_context
from tests.support.jobs_fixtures import loaded
from tests.support.jobs_world import ALICE, BOB, JobsWorld, context, running

pytestmark = [pytest.mark.postgres, pytest.mark.redis]


@pytest.fixture(scope="module")
def module(jobs_world: JobsWorld) -> Iterator[Any]:
    with loaded(jobs_world, "tests.support.jobs_arq") as found:
        yield found


@pytest.fixture(scope="module")
def worker(jobs_world: JobsWorld, module: Any) -> Iterator[Any]:
    with running(jobs_world, "arq", "tests.support.jobs_arq.WorkerSettings") as process:
        yield process


@pytest.fixture
async def pool(module: Any) -> AsyncIterator[Any]:
    settings = module.WorkerSettings
    made = await create_pool(
        settings.redis_settings,
        job_serializer=dump_json,
        job_deserializer=load_json,
        default_queue_name=settings.queue_name,
    )
    yield made
    await made.aclose()


def label() -> str:
    return uuid4().hex


async def test_jobs_run_for_their_senders_one_after_the_other(
    jobs_world: JobsWorld, worker: Any, module: Any, pool: Any
) -> None:
    """One event loop does all three: none sees another's tenant."""
    first, second, third = label(), label(), label()
    with use_context(context(ALICE)):
        await module.jobs.enqueue(pool, "look", first)
    with use_context(context(BOB)):
        await module.jobs.enqueue(pool, "look", second)
    await pool.enqueue_job("bare", third)

    alice, bob, nobody = (jobs_world.wait(one) for one in (first, second, third))
    assert (alice["who"], alice["tenants"]) == (f"{ALICE} user-1 look", [ALICE])
    assert (bob["who"], bob["tenants"]) == (f"{BOB} user-1 look", [BOB])
    assert alice["place"] == bob["place"]
    assert nobody["who"] == "none"
    assert jobs_world.wait(third)["error"] == "ContextMissingError"


async def test_a_retry_keeps_its_sender(
    jobs_world: JobsWorld, worker: Any, module: Any, pool: Any
) -> None:
    """The library's own message of the same job is no replay."""
    name = label()
    with use_context(context(ALICE)):
        await module.jobs.enqueue(pool, "again", name)

    assert [jobs_world.wait(name)["tries"] for _ in range(2)] == [1, 2]


async def test_nested_and_deferred_jobs_are_of_the_same_tenant(
    jobs_world: JobsWorld, worker: Any, module: Any, pool: Any
) -> None:
    """Sealed anew, for the other job."""
    nested, soon, at = label(), label(), label()
    with use_context(context(BOB)):
        await module.jobs.enqueue(pool, "nested", nested)
        await module.jobs.enqueue(pool, "look", soon, _defer_by=timedelta(milliseconds=10))
        await module.jobs.enqueue(pool, "look", at, _defer_until=datetime.now(UTC))

    assert [jobs_world.wait(one)["tenants"] for one in (nested, soon, at)] == [[BOB]] * 3


async def test_without_a_context_nothing_is_sent(module: Any, pool: Any) -> None:
    """And nothing is deferred beyond what an envelope lives."""
    with pytest.raises(ContextMissingError):
        await module.jobs.enqueue(pool, "look", "x")
    with use_context(context(ALICE)), pytest.raises(ConfigError, match="max_delay"):
        await module.jobs.enqueue(pool, "look", "x", _defer_by=90_000)


async def test_what_was_sent_past_the_integration_is_refused_once(
    jobs_world: JobsWorld, worker: Any, pool: Any
) -> None:
    """It fails in arq's own way, and is not tried again."""
    sent = await pool.enqueue_job("look", "x")

    with pytest.raises(Exception, match="EnvelopeRefusedError"):
        await _result(sent)
    assert jobs_world.event(sent.job_id) == ("ENVELOPE_REFUSED", "envelope_missing")
    assert jobs_world.redis.zcard(f"{jobs_world.name}:arq") == 0


async def _result(sent: Any) -> None:
    info = None
    while info is None:
        info = await sent.result_info()
    if not info.success:
        raise RuntimeError(info.result)


async def test_settings_that_pickle_are_refused(module: Any, jobs_world: JobsWorld) -> None:
    """Which is what the library does by default."""

    class Settings:
        functions = ()

    with pytest.raises(ConfigError, match="dump_json"):
        ArqJobs.check(Settings)
    ArqJobs.check({"job_serializer": dump_json, "job_deserializer": load_json})
    pickling = await create_pool(module.WorkerSettings.redis_settings)
    with use_context(context(ALICE)), pytest.raises(ConfigError, match="dump_json"):
        await module.jobs.enqueue(pickling, "look", "x")
    await pickling.aclose()
