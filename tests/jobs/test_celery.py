"""Celery with a real worker: each task runs for its sender, in forked processes.

Threads: ``tests/attacks/test_jobs_celery.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from celery import chain, chord

from asgi_guard.errors import ConfigError, ContextMissingError
from asgi_guard.tenancy import use_context
from tests.support.jobs_fixtures import loaded
from tests.support.jobs_world import ALICE, BOB, JobsWorld, context, running

pytestmark = [pytest.mark.postgres, pytest.mark.redis]


@pytest.fixture(scope="module")
def tasks(jobs_world: JobsWorld) -> Iterator[Any]:
    """Load the app as a sender does."""
    with loaded(jobs_world, "tests.support.jobs_celery") as module:
        yield module


@pytest.fixture(scope="module")
def worker(jobs_world: JobsWorld, tasks: Any) -> Iterator[Any]:
    command = (
        "celery",
        "-A",
        "tests.support.jobs_celery:app",
        "worker",
        "-c",
        "1",
        "-l",
        "warning",
    )
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    with running(jobs_world, *command, "-P", "prefork", *quiet) as process:
        yield process


def label() -> str:
    return uuid4().hex


def test_tasks_run_for_their_senders_one_after_the_other(
    jobs_world: JobsWorld, tasks: Any, worker: Any
) -> None:
    """One process does all three: a second job must not see the first one's tenant."""
    first, second, third = label(), label(), label()

    with use_context(context(ALICE)):
        tasks.look.delay(first)
    with use_context(context(BOB)):
        tasks.look.delay(second)
    tasks.bare.delay(third)

    alice, bob, nobody = (jobs_world.wait(one) for one in (first, second, third))
    assert (alice["who"], alice["tenants"]) == (f"{ALICE} user-1 look", [ALICE])
    assert (bob["who"], bob["tenants"]) == (f"{BOB} user-1 look", [BOB])
    assert alice["place"] == bob["place"]
    assert nobody["who"] == "none"
    assert jobs_world.wait(third)["error"] == "ContextMissingError"


def test_a_retry_keeps_its_sender(jobs_world: JobsWorld, tasks: Any, worker: Any) -> None:
    """The library's own message of the same job is no replay."""
    name = label()
    with use_context(context(ALICE)):
        result = tasks.again.delay(name)

    assert [jobs_world.wait(name)["retries"] for _ in range(2)] == [0, 1]
    assert result.get(timeout=20) == name


def test_a_task_sent_by_a_task_is_of_the_same_tenant(
    jobs_world: JobsWorld, tasks: Any, worker: Any
) -> None:
    """Sealed anew, for the other task, with what the first one had."""
    name = label()
    with use_context(context(BOB)):
        tasks.nested.delay(name)

    assert jobs_world.wait(name)["tenants"] == [BOB]


def test_chains_chords_and_links_stay_with_their_sender(
    jobs_world: JobsWorld, tasks: Any, worker: Any
) -> None:
    """Celery sends what follows after the task's own context is gone."""
    linked, chained, joined, mended = label(), label(), label(), label()
    with use_context(context(ALICE)):
        tasks.breaks.apply_async((label(),), link_error=tasks.look.si(mended))
        tasks.look.apply_async((label(),), link=tasks.look.si(linked))
        chain(tasks.look.s(label()), tasks.look.si(label()), tasks.look.si(chained)).delay()
        chord([tasks.look.s("a"), tasks.look.s("b")], tasks.gather.s(joined)).delay()

    assert jobs_world.wait(mended)["tenants"] == [ALICE]
    assert jobs_world.wait(linked)["tenants"] == [ALICE]
    assert jobs_world.wait(chained)["tenants"] == [ALICE]
    together = jobs_world.wait(joined)
    assert together["tenants"] == [ALICE]
    assert sorted(together["results"]) == ["a", "b"]


def test_a_worker_that_dies_gets_the_same_task_again(
    jobs_world: JobsWorld, tasks: Any, worker: Any
) -> None:
    """Redelivery is the queue's promise; it is the same job id."""
    name = label()
    with use_context(context(ALICE)):
        tasks.dies.delay(name)

    first, second = jobs_world.wait(name), jobs_world.wait(name)
    assert first["pid"] != second["pid"]
    assert first["tenants"] == second["tenants"] == [ALICE]


def test_without_a_context_nothing_is_sent(tasks: Any) -> None:
    """A task of nobody is refused where it is sent."""
    with pytest.raises(ContextMissingError):
        tasks.look.delay("x")


def test_what_was_sent_past_the_integration_is_refused_once(
    jobs_world: JobsWorld, tasks: Any, worker: Any
) -> None:
    """``send_task`` by name seals nothing; autoretry does not try a refusal again."""
    with use_context(context(ALICE)):
        result = tasks.app.send_task("fails", args=["x"])

    with pytest.raises(Exception, match="envelope_refused"):
        result.get(timeout=20)
    assert jobs_world.event(result.id) == ("ENVELOPE_REFUSED", "envelope_missing")
    assert result.state == "FAILURE"


def test_a_delay_counts_until_the_task_is_due(tasks: Any) -> None:
    """An ETA beyond ``max_delay`` is refused at the sender, not by the worker next week."""
    with use_context(context(ALICE)), pytest.raises(ConfigError, match="max_delay"):
        tasks.look.apply_async(("x",), countdown=90_000)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("accept_content", ["json", "pickle"]),
        ("accept_content", ["application/x-python-serialize"]),
        ("accept_content", ["yaml"]),
        ("accept_content", None),
        ("result_accept_content", ["pickle"]),
        ("task_serializer", "pickle"),
        ("result_serializer", "pickle"),
        ("worker_pool", "gevent"),
    ],
)
def test_an_app_that_would_unpickle_is_refused_at_set_up(
    tasks: Any, setting: str, value: Any
) -> None:
    """Whoever writes to the broker would run code before any envelope is looked at."""
    from celery import Celery  # noqa: PLC0415

    from asgi_guard.integrations.celery import CeleryJobs  # noqa: PLC0415

    app = Celery("bad")
    app.conf[setting] = value

    with pytest.raises(ConfigError):
        CeleryJobs(app, tasks.jobs._guard)
