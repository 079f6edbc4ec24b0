"""procrastinate with a real worker: each job runs for its sender."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest

from asgi_guard.errors import ConfigError, ContextMissingError
from asgi_guard.tenancy import use_context
from asgi_guard.testing import PostgresServer
from tests.support.jobs_fixtures import loaded
from tests.support.jobs_world import ALICE, BOB, JobsWorld, context, running

pytestmark = [pytest.mark.postgres, pytest.mark.redis]
QUEUE = "ASGI_GUARD_TEST_QUEUE"


@pytest.fixture(scope="module")
def queue(postgres_server: PostgresServer) -> Iterator[str]:
    name = f"queue{uuid4().hex[:8]}"
    yield postgres_server.create_database(name).dsn()
    postgres_server.drop_database(name)


@pytest.fixture(scope="module")
def module(jobs_world: JobsWorld, queue: str) -> Iterator[Any]:
    with loaded(jobs_world, "tests.support.jobs_procrastinate", **{QUEUE: queue}) as found:
        with found.app.open():
            found.app.schema_manager.apply_schema()
        yield found


@pytest.fixture(scope="module")
def worker(jobs_world: JobsWorld, module: Any, queue: str) -> Iterator[Any]:
    app = "--app=tests.support.jobs_procrastinate.app"
    with running(jobs_world, "procrastinate", app, "worker", env={QUEUE: queue}) as process:
        yield process


@pytest.fixture
async def tasks(module: Any) -> AsyncIterator[Any]:
    async with module.app.open_async():
        yield module


def label() -> str:
    return uuid4().hex


async def test_jobs_run_for_their_senders_one_after_the_other(
    jobs_world: JobsWorld, worker: Any, tasks: Any
) -> None:
    """One event loop does all three: none sees another's tenant."""
    first, second, third = label(), label(), label()
    with use_context(context(ALICE)):
        await tasks.jobs.defer_async(tasks.look, label=first)
    with use_context(context(BOB)):
        await tasks.jobs.defer_async(tasks.look, label=second)
    await tasks.bare.defer_async(label=third)

    alice, bob, nobody = (jobs_world.wait(one) for one in (first, second, third))
    assert (alice["who"], alice["tenants"]) == (f"{ALICE} user-1 look", [ALICE])
    assert (bob["who"], bob["tenants"]) == (f"{BOB} user-1 look", [BOB])
    assert alice["place"] == bob["place"]
    assert nobody["who"] == "none"
    assert jobs_world.wait(third)["error"] == "ContextMissingError"


async def test_retries_nested_and_scheduled_jobs_stay_with_their_sender(
    jobs_world: JobsWorld, worker: Any, tasks: Any
) -> None:
    """The same number is the same job; a nested one is sealed anew."""
    again, nested, soon = label(), label(), label()
    with use_context(context(ALICE)):
        await tasks.jobs.defer_async(tasks.again, label=again)
        await tasks.jobs.defer_async(tasks.nested, label=nested)
        await tasks.jobs.defer_async(tasks.look, {"schedule_in": {"milliseconds": 1}}, label=soon)

    assert [jobs_world.wait(again)["tries"] for _ in range(2)] == [0, 1]
    assert [jobs_world.wait(one)["tenants"] for one in (nested, soon)] == [[ALICE]] * 2


async def test_without_a_context_nothing_is_stored(tasks: Any) -> None:
    """And nothing is scheduled beyond what an envelope lives."""
    with pytest.raises(ContextMissingError):
        await tasks.jobs.defer_async(tasks.look, label="x")
    with use_context(context(ALICE)), pytest.raises(ConfigError, match="max_delay"):
        await tasks.jobs.defer_async(tasks.look, {"schedule_in": {"hours": 25}}, label="x")
    with use_context(context(ALICE)), pytest.raises(ConfigError, match=r"jobs.task"):
        await tasks.jobs.defer_async(tasks.bare, label="x")


async def test_what_was_stored_past_the_integration_is_refused_once(
    jobs_world: JobsWorld, worker: Any, tasks: Any
) -> None:
    """Also where the task asks to be tried again for ever."""
    job_id = await tasks.fails.defer_async(label="x")

    assert jobs_world.event(str(job_id)) == ("ENVELOPE_REFUSED", "envelope_missing")
    status = "doing"
    while status in {"doing", "todo"}:
        status = str((await tasks.app.job_manager.get_job_status_async(job_id)).value)
    assert status == "failed"


async def test_one_envelope_fits_one_row(jobs_world: JobsWorld, worker: Any, tasks: Any) -> None:
    """Whoever can write to the table can copy a row; the copy has another number."""
    name = label()
    with use_context(context(ALICE)):
        await tasks.jobs.defer_async(tasks.look, label=name)
    jobs_world.wait(name)
    copied = await tasks.app.connector.execute_query_one_async(
        "INSERT INTO procrastinate_jobs (task_name, args, queue_name) "
        "SELECT task_name, args, queue_name FROM procrastinate_jobs "
        "WHERE args->>'label' = %(label)s RETURNING id",
        label=name,
    )

    assert jobs_world.event(str(copied["id"])) == ("ENVELOPE_REFUSED", "envelope_replayed")
    assert jobs_world.told_already(name) == 0
