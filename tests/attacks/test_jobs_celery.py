"""Attack: whoever can write to Celery's broker, against a real worker of threads."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from celery import chain, chord

from asgi_guard.tenancy import EnvelopeKey, use_context
from tests.support.jobs_fixtures import jobs_world, loaded
from tests.support.jobs_world import ALICE, BOB, JobsWorld, context, running

__all__ = ["jobs_world"]
pytestmark = [pytest.mark.postgres, pytest.mark.redis]
FIELD = "asgi_guard_envelope"
COMMAND = ("celery", "-A", "tests.support.jobs_celery:app", "worker", "-c", "1", "-l", "warning")
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")


@pytest.fixture(scope="module")
def tasks(jobs_world: JobsWorld) -> Iterator[Any]:
    with loaded(jobs_world, "tests.support.jobs_celery") as module:
        yield module


@pytest.fixture(scope="module")
def broker(jobs_world: JobsWorld, tasks: Any) -> Iterator[Broker]:
    with running(jobs_world, *COMMAND, "-P", "threads", *QUIET):
        yield Broker(jobs_world, tasks)


class Broker:
    """What the attacker can do: read every message, write any."""

    def __init__(self, world: JobsWorld, tasks: Any) -> None:
        self.world = world
        self.tasks = tasks

    def captured(self, signature: Any, tenant: str = BOB) -> dict[str, Any]:
        """Take a message of another tenant out of its queue before a worker has seen it."""
        with use_context(context(tenant)):
            signature.apply_async(queue="captured")
        raw = self.world.redis.lpop(self.world.name + "captured")
        return dict(json.loads(raw))

    def write(self, message: dict[str, Any], *, job_id: str | None = None) -> str:
        """Write a message; under an id of its own if none is given."""
        job_id = job_id or uuid4().hex
        message["headers"]["id"] = job_id
        message["properties"]["correlation_id"] = job_id
        message["properties"]["delivery_tag"] = uuid4().hex
        message["properties"]["delivery_info"]["routing_key"] = self.world.name
        self.world.redis.lpush(self.world.name * 2, json.dumps(message))
        return job_id

    def refusal(self, message: dict[str, Any], **options: Any) -> str:
        name, reason = self.world.event(self.write(message, **options))
        assert name == "ENVELOPE_REFUSED"
        return reason


def body_of(message: dict[str, Any]) -> list[Any]:
    return list(json.loads(base64.b64decode(message["body"])))


def put_body(message: dict[str, Any], body: list[Any]) -> None:
    message["body"] = base64.b64encode(json.dumps(body).encode()).decode()


def test_two_tenants_in_one_thread_see_their_own(
    jobs_world: JobsWorld, tasks: Any, broker: Broker
) -> None:
    """The pool keeps its thread; the context must not stay in it."""
    labels = [uuid4().hex for _ in range(3)]
    with use_context(context(ALICE)):
        tasks.look.delay(labels[0])
    with use_context(context(BOB)):
        tasks.look.delay(labels[1])
    tasks.bare.delay(labels[2])

    alice, bob, nobody = (jobs_world.wait(label) for label in labels)
    assert (alice["tenants"], bob["tenants"], nobody["who"]) == ([ALICE], [BOB], "none")
    assert alice["place"] == bob["place"]


def test_an_untouched_message_runs(broker: Broker) -> None:
    """Control: the attacker's way of writing messages is one that works."""
    label = uuid4().hex
    message = broker.captured(broker.tasks.look.s(label))
    job_id = broker.write(message, job_id=message["headers"]["id"])

    assert broker.world.wait(label)["tenants"] == [BOB]
    assert broker.world.event(job_id) == ("ENVELOPE_OPENED", "")


def test_an_envelope_fits_no_other_message_arguments_or_task(broker: Broker) -> None:
    """An envelope of another tenant on work of one's own is the prize."""
    look = broker.tasks.look
    copied = broker.captured(look.s("mine"))
    assert broker.refusal(copied) == "envelope_wrong_job_id"

    other = broker.captured(look.s("mine"))
    body = body_of(other)
    body[0] = ["stolen"]
    put_body(other, body)
    assert broker.refusal(other, job_id=other["headers"]["id"]) == "envelope_wrong_arguments"

    renamed = broker.captured(look.s("mine"))
    renamed["headers"]["task"] = "again"
    assert broker.refusal(renamed, job_id=renamed["headers"]["id"]) == "envelope_wrong_job"
    assert broker.world.told_already("mine") == broker.world.told_already("stolen") == 0


@pytest.mark.parametrize("place", ["chain", "callbacks", "errbacks"])
def test_a_message_gets_no_follower_that_its_sender_did_not_send(
    broker: Broker, place: str
) -> None:
    """The worker itself would seal what follows, in the sender's name."""
    message = broker.captured(chain(broker.tasks.look.s("a"), broker.tasks.look.si("b")))
    body = body_of(message)
    body[2][place] = [dict(body[2]["chain"][0], args=["stolen"])]
    put_body(message, body)

    assert broker.refusal(message, job_id=message["headers"]["id"]) == "envelope_wrong_arguments"
    assert broker.world.told_already("stolen") == 0


def test_a_header_is_no_opened_envelope(broker: Broker) -> None:
    """Celery makes attributes of the request of all headers, whatever their names."""
    message = broker.captured(chain(broker.tasks.look.s("a"), broker.tasks.look.si("stolen")))
    del message["headers"][FIELD]
    message["headers"]["_asgi_guard_context"] = {"tenant_id": BOB, "user_id": "user-1"}

    assert broker.refusal(message, job_id=message["headers"]["id"]) == "envelope_missing"
    assert broker.world.told_already("stolen") == 0


def test_what_gathers_the_results_of_a_chord_is_bound_too(broker: Broker) -> None:
    """It rides in the message of each part."""
    look, gather = broker.tasks.look, broker.tasks.gather
    message = broker.captured(chord([look.s("a"), look.s("b")], gather.s("x")))
    body = body_of(message)
    body[2]["chord"]["args"] = ["stolen"]
    put_body(message, body)

    assert broker.refusal(message, job_id=message["headers"]["id"]) == "envelope_wrong_arguments"


def test_what_has_run_does_not_run_again(broker: Broker) -> None:
    """The same message, byte for byte, after its job has ended well."""
    label = uuid4().hex
    message = broker.captured(broker.tasks.look.s(label))
    job_id = broker.write(message, job_id=message["headers"]["id"])
    broker.world.wait(label)
    assert broker.world.event(job_id) == ("ENVELOPE_OPENED", "")

    assert broker.refusal(message, job_id=job_id) == "envelope_used"
    assert broker.world.told_already(label) == 0


@pytest.mark.parametrize(
    ("envelope", "reason"),
    [
        (None, "envelope_missing"),
        ("", "envelope_malformed"),
        ({"tenant_id": BOB}, "envelope_malformed"),
        ("x" * 100_000, "envelope_malformed"),
        ("tampered", "envelope_forged"),
        ("own key", "envelope_key_unknown"),
    ],
    ids=["none", "empty", "object", "huge", "tampered", "own-key"],
)
def test_what_is_no_envelope_of_ours_is_refused(broker: Broker, envelope: Any, reason: str) -> None:
    """With the reason in the event, and none for the attacker."""
    message = broker.captured(broker.tasks.look.s("mine"))
    genuine = message["headers"].pop(FIELD)
    if envelope == "tampered":
        envelope = genuine[:-1] + ("0" if genuine[-1] != "0" else "1")
    if envelope == "own key":
        own = broker.world.envelopes(keys=EnvelopeKey.generate().export())
        envelope = own.seal("look", job_id=message["headers"]["id"], context=context(BOB))
    if envelope is not None:
        message["headers"][FIELD] = envelope

    assert broker.refusal(message, job_id=message["headers"]["id"]) == reason


def test_a_pickled_message_is_not_decoded(broker: Broker) -> None:
    """It would run code in the worker before anything could be looked at."""
    evil = broker.captured(broker.tasks.look.s("mine"))
    evil["content-type"] = "application/x-python-serialize"
    evil["body"] = base64.b64encode(pickle.dumps(_Bomb(broker.world.key("bomb")))).decode()
    broker.write(evil)
    label = uuid4().hex
    with use_context(context(ALICE)):
        broker.tasks.look.delay(label)

    broker.world.wait(label)  # the queue went on, past the bomb
    assert not broker.world.redis.exists(broker.world.key("bomb"))


class _Bomb:
    def __init__(self, key: str) -> None:
        self.key = key

    def __reduce__(self) -> tuple[Any, ...]:
        code = "from tests.support.jobs_celery import world; world.redis.set({!r}, 1)"
        return (exec, (code.format(self.key),))


def test_a_tenant_that_was_suspended_meanwhile_is_refused(broker: Broker) -> None:
    """Between sending and running; and let in again when it is active again."""
    label = uuid4().hex
    message = broker.captured(broker.tasks.look.s(label))
    job_id = message["headers"]["id"]
    broker.world.admit("user-1", BOB, status="suspended")
    assert broker.refusal(message, job_id=job_id) == "tenant_suspended"
    broker.world.admit("user-1", BOB)

    broker.write(message, job_id=job_id)
    assert broker.world.wait(label)["tenants"] == [BOB]
