"""dramatiq with a real worker: each actor runs for its sender."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker

from asgi_guard.errors import ConfigError, ContextMissingError
from asgi_guard.integrations.dramatiq import DramatiqJobs
from asgi_guard.tenancy import use_context
from tests.support.jobs_fixtures import loaded
from tests.support.jobs_world import ALICE, BOB, JobsWorld, context, running

pytestmark = [pytest.mark.postgres, pytest.mark.redis]


@pytest.fixture(scope="module")
def actors(jobs_world: JobsWorld) -> Iterator[Any]:
    with loaded(jobs_world, "tests.support.jobs_dramatiq") as found:
        yield found


@pytest.fixture(scope="module")
def worker(jobs_world: JobsWorld, actors: Any) -> Iterator[Any]:
    place = "tests.support.jobs_dramatiq"
    with running(jobs_world, "dramatiq", place, "--processes", "1", "--threads", "1") as process:
        yield process


def label() -> str:
    return uuid4().hex


@pytest.mark.parametrize("kind", ["look", "look_async"])
def test_actors_run_for_their_senders_one_after_the_other(
    jobs_world: JobsWorld, actors: Any, worker: Any, kind: str
) -> None:
    """One thread does all three: none sees another's tenant."""
    look = getattr(actors, kind)
    first, second, third = label(), label(), label()
    with use_context(context(ALICE)):
        look.send(first)
    with use_context(context(BOB)):
        look.send(second)
    actors.bare.send(third)

    alice, bob, nobody = (jobs_world.wait(one) for one in (first, second, third))
    assert (alice["who"], alice["tenants"]) == (f"{ALICE} user-1 {kind}", [ALICE])
    assert (bob["who"], bob["tenants"]) == (f"{BOB} user-1 {kind}", [BOB])
    assert alice["place"] == bob["place"]
    assert nobody["who"] == "none"
    assert "ContextError" in jobs_world.wait(third)["error"]


def test_a_retry_keeps_its_sender(jobs_world: JobsWorld, actors: Any, worker: Any) -> None:
    """The library's own message of the same job is no replay."""
    name = label()
    with use_context(context(ALICE)):
        actors.again.send(name)

    assert [jobs_world.wait(name)["tries"] for _ in range(2)] == [0, 1]


def test_nested_and_delayed_messages_are_of_the_same_tenant(
    jobs_world: JobsWorld, actors: Any, worker: Any
) -> None:
    """What is put off passes the queue twice, with one envelope."""
    nested, delayed = label(), label()
    with use_context(context(BOB)):
        actors.nested.send(nested)
        actors.look.send_with_options(args=(delayed,), delay=10)

    assert [jobs_world.wait(one)["tenants"] for one in (nested, delayed)] == [[BOB]] * 2


def test_the_next_of_a_pipeline_is_of_the_same_tenant(
    jobs_world: JobsWorld, actors: Any, worker: Any
) -> None:
    """It is sent after the context is gone; it was bound by the first one's envelope."""
    second, third = label(), label()
    middle = actors.look_async.message_with_options(args=(second,), pipe_ignore=True)
    last = actors.look.message_with_options(args=(third,), pipe_ignore=True)
    with use_context(context(BOB)):
        (actors.look.message(label()) | middle | last).run()

    assert jobs_world.wait(second)["tenants"] == [BOB]
    assert jobs_world.wait(third)["tenants"] == [BOB]


def test_without_a_context_nothing_is_sent(actors: Any) -> None:
    """An actor's call as a function is no job either."""
    with pytest.raises(ContextMissingError):
        actors.look.send("x")
    with use_context(context(ALICE)), pytest.raises(Exception, match="envelope_refused"):
        actors.look("x")


def test_what_was_sent_past_the_integration_is_refused_once(
    jobs_world: JobsWorld, actors: Any, worker: Any
) -> None:
    """It goes to the dead letters, as a message that has no more retries."""
    plain = dramatiq.brokers.redis.RedisBroker(
        url=jobs_world.redis_url, namespace=f"{jobs_world.name}:dramatiq"
    )
    plain.declare_queue("default")
    message: Any = dramatiq.Message(
        queue_name="default", actor_name="fails", args=("x",), kwargs={}, options={}
    )
    plain.enqueue(message)

    assert jobs_world.event(message.message_id) == ("ENVELOPE_REFUSED", "envelope_missing")
    name = label()  # the queue goes on, and what was refused did not come back before
    with use_context(context(ALICE)):
        actors.look.send(name)
    jobs_world.wait(name)
    assert jobs_world.redis.llen(jobs_world.key("event", message.message_id)) == 0


def test_an_encoder_that_unpickles_is_refused_at_set_up(actors: Any) -> None:
    """Whoever writes to the broker would run code before any envelope is looked at."""
    before = dramatiq.get_encoder()
    dramatiq.set_encoder(dramatiq.PickleEncoder())
    try:
        with pytest.raises(ConfigError, match="encoder"):
            DramatiqJobs(StubBroker(), actors.guard)
    finally:
        dramatiq.set_encoder(before)
