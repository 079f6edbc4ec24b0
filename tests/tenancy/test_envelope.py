"""ContextEnvelope: a context that travels with a job, and is proven again where it arrives."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Iterator
from typing import Any

import pytest

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.errors import (
    ConfigError,
    ContextExpiredError,
    ContextMissingError,
    EnvelopeRefusedError,
    ExpansionError,
    UnavailableError,
)
from asgi_guard.rls import SealKey
from asgi_guard.tenancy import (
    ContextEnvelope,
    EnvelopeKey,
    EnvelopeKeys,
    Membership,
    Status,
    UserExecutionContext,
    current_context,
    use_context,
)
from tests.support.rls_fixtures import EventList
from tests.support.tenancy_world import ACME, GLOBEX, Directory, MovedClock, context

NEW, OLD = EnvelopeKey.generate(), EnvelopeKey.generate()
KEYS = EnvelopeKeys([NEW, OLD])
ARGUMENTS = b'[["42"],{}]'


class World:
    """One app: senders and workers share keys, memberships, store and clock."""

    def __init__(self) -> None:
        self.clock = MovedClock()
        self.store: Any = MemoryStore(clock=self.clock)
        self.members = Directory(("alice", ACME), roles={"editor"})
        self.envelopes = self.envelope()

    def envelope(self, keys: EnvelopeKeys = KEYS, **options: Any) -> ContextEnvelope:
        return ContextEnvelope(
            keys,
            **{
                "memberships": self.members,
                "store": self.store,
                "clock": self.clock,
                **options,
            },
        )

    def seal(self, job: str = "report", **options: Any) -> str:
        sender = context(roles={"editor", "admin"}, scopes={"notes:read"}, operation="http GET")
        settings = {"job_id": "job-1", "arguments": ARGUMENTS, **options}
        with use_context(sender):
            return self.envelopes.seal(job, **settings)

    async def open(self, text: object, job: str = "report", **options: Any) -> Any:
        settings = {"job_id": "job-1", "arguments": ARGUMENTS, **options}
        return await self.envelopes.open(text, job, **settings)

    async def refused(self, text: object, *args: str, **options: Any) -> str:
        with pytest.raises(EnvelopeRefusedError) as refusal:
            await self.open(text, *args, **options)
        return refusal.value.reason


@pytest.fixture
def world() -> World:
    return World()


async def test_a_job_runs_for_its_sender_with_what_the_sender_still_has(
    world: World, rls_events: EventList
) -> None:
    """Roles of the credential end with it; roles of the membership are those of today."""
    text = world.seal()

    opened = await world.open(text)

    job = opened.context
    assert (job.tenant_id, job.user_id, job.operation) == (ACME, "alice", "report")
    assert job.roles == {"editor"}
    assert job.scopes == {"notes:read"}
    assert job.auth_method == "envelope"
    assert job.expires_at == world.clock.now() + 3600
    assert job.parent is not None
    assert job.parent.operation == "http GET"
    assert [event.name for event in rls_events] == ["ENVELOPE_OPENED"]
    assert rls_events[0].tenant_id == ACME


async def test_a_role_that_was_taken_away_meanwhile_is_gone(world: World) -> None:
    """The envelope is an upper bound, never a grant."""
    text = world.seal()
    world.members.put("alice", ACME, roles={"viewer", "admin"})

    assert (await world.open(text)).context.roles == {"admin"}


async def test_a_job_can_be_sent_with_less_than_its_sender_has(world: World) -> None:
    """And never with more."""
    text = world.seal(roles=(), scopes=())

    opened = await world.open(text)

    assert opened.context.roles == opened.context.scopes == frozenset()
    with pytest.raises(ExpansionError):
        world.seal(scopes={"notes:write"})


def test_without_a_context_nothing_is_sealed(world: World, rls_events: EventList) -> None:
    """A job of nobody is refused where it is sent, not hours later in the worker."""
    with pytest.raises(ContextMissingError):
        world.envelopes.seal("report")
    with (
        use_context(context(expires_at=world.clock.now() - 1)),
        pytest.raises(ContextExpiredError),
    ):
        world.envelopes.seal("report")

    with pytest.raises(ContextExpiredError):
        world.envelopes.seal("report", context=context(expires_at=world.clock.now() - 1))

    expected = ["context_missing", "context_expired", "context_expired"]
    assert [event.reason for event in rls_events] == expected


@pytest.mark.parametrize(
    ("member", "tenant", "reason"),
    [
        (Status.ACTIVE, Status.SUSPENDED, "tenant_suspended"),
        (Status.ACTIVE, Status.DELETED, "tenant_deleted"),
        (Status.SUSPENDED, Status.ACTIVE, "membership_suspended"),
        (Status.DELETED, Status.ACTIVE, "membership_deleted"),
    ],
)
async def test_what_was_suspended_since_is_refused(
    world: World, rls_events: EventList, member: Status, tenant: Status, reason: str
) -> None:
    """A queue may be hours long; a revocation must not have to wait for its end."""
    text = world.seal()
    world.members.put("alice", ACME, member=member, tenant=tenant)

    assert await world.refused(text) == reason
    assert [(event.name, event.reason) for event in rls_events] == [("ENVELOPE_REFUSED", reason)]
    world.members.put("alice", ACME)
    assert await world.open(text), "a refusal used nothing up"


async def test_a_user_who_was_removed_is_refused(world: World) -> None:
    """The same, where the row is gone."""
    text = world.seal()
    world.members.members.clear()

    assert await world.refused(text) == "not_a_member"


async def test_it_fits_one_job_one_message_and_its_arguments(world: World) -> None:
    """Whoever can write to the broker can copy an envelope, and use it nowhere else."""
    text = world.seal()

    assert await world.refused(text, "other.job") == "envelope_wrong_job"
    assert await world.refused(text, job_id="job-2") == "envelope_wrong_job_id"
    assert await world.refused(text, job_id="") == "envelope_wrong_job_id"
    assert await world.refused(text, arguments=b'[["43"],{}]') == "envelope_wrong_arguments"
    assert await world.refused(text, arguments=None) == "envelope_wrong_arguments"
    unbound = world.seal(arguments=None)
    assert await world.refused(unbound) == "envelope_wrong_arguments"


async def test_a_retry_may_come_again_and_a_job_that_ended_may_not(world: World) -> None:
    """Queues deliver at least once; a copy of what is done is not of their making."""
    text = world.seal()

    for _ in range(3):
        opened = await world.open(text)
    await world.envelopes.finish(opened)

    assert await world.refused(text) == "envelope_used"


async def test_where_the_job_id_is_not_known_the_first_delivery_decides(world: World) -> None:
    """Some queues number jobs when it stores them, after they were sealed."""
    text = world.seal(job_id="")

    await world.open(text, job_id="7")
    await world.open(text, job_id="7")

    assert await world.refused(text, job_id="8") == "envelope_replayed"


async def test_the_number_of_deliveries_is_bounded(world: World) -> None:
    """A message that is written again and again, before the job has ended once, runs out."""
    world.envelopes = world.envelope(max_deliveries=2)
    text = world.seal()

    await world.open(text)
    await world.open(text)

    assert await world.refused(text) == "envelope_deliveries_exhausted"


async def test_it_ends_when_its_job_should_have_ended(world: World) -> None:
    """Counted from when the job is due, so that a planned delay does not eat it up."""
    text = world.seal(delay=600, lifetime=60)

    world.clock.time += 659
    assert await world.open(text)
    world.clock.time += 1
    assert await world.refused(text) == "envelope_expired"


async def test_an_envelope_of_a_clock_that_is_ahead_is_refused(world: World) -> None:
    """A minute between machines is common; a key that signs for next week is not."""
    world.clock.time += 61
    text = world.seal()
    world.clock.time -= 61.5

    assert await world.refused(text) == "envelope_from_the_future"
    world.clock.time += 2
    assert await world.open(text)


async def test_a_job_sent_by_a_job_ends_with_it(world: World) -> None:
    """Else one that sends itself again would act for its user for ever."""
    first = await world.open(world.seal())
    world.clock.time += 3000
    with use_context(first.context):
        nested = world.envelopes.seal("next", job_id="job-2", arguments=b"")
        with pytest.raises(ConfigError, match="after the end of the job that sends it"):
            world.envelopes.seal("next", delay=1200)

    second = await world.open(nested, "next", job_id="job-2", arguments=b"")

    assert second.context.expires_at == first.context.expires_at
    assert second.context.roles == {"editor"}
    world.clock.time += 600
    assert await world.refused(nested, "next", job_id="job-2", arguments=b"") == "envelope_expired"


async def test_keys_rotate_while_jobs_wait(world: World) -> None:
    """All keys of the ring open; one that has left it opens nothing."""
    text = world.seal()

    rotated = world.envelope(EnvelopeKeys([EnvelopeKey.generate(), NEW]))
    assert await rotated.open(text, "report", job_id="job-1", arguments=ARGUMENTS)
    world.envelopes = world.envelope(EnvelopeKeys([OLD]))
    assert await world.refused(text) == "envelope_key_unknown"


@pytest.mark.parametrize("failing", ["memberships", "store"])
async def test_what_cannot_be_found_out_now_is_no_refusal_and_no_run(
    world: World, rls_events: EventList, failing: str
) -> None:
    """The queue may try again later; a refusal it must not."""
    text = world.seal()

    class Away:
        async def lookup(self, user_id: str, tenant_id: str) -> Membership | None:
            raise OSError

        async def fail(self, *args: Any, **options: Any) -> Any:
            raise UnavailableError("store_unreachable")

        get = get_many = put = put_if_absent = replace = take = delete = fail

    world.envelopes = world.envelope(**{failing: Away()})
    with pytest.raises(UnavailableError):
        await world.open(text)

    assert [event.outcome for event in rls_events] == ["error"]


async def test_an_end_that_cannot_be_noted_is_told_and_does_no_harm(
    world: World, rls_events: EventList, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work is committed: raising now would have the queue do it twice."""
    opened = await world.open(world.seal())

    async def fail(*args: Any, **options: Any) -> None:
        raise UnavailableError("store_unreachable")

    monkeypatch.setattr(world.store, "put", fail)
    await world.envelopes.finish(opened)

    assert [event.name for event in rls_events] == ["ENVELOPE_OPENED", "ENVELOPE_LEFT_OPEN"]


async def test_the_text_shows_no_session_credential_or_address(world: World) -> None:
    """Whoever reads the broker must not be able to take a session over."""
    sender = UserExecutionContext(
        tenant_id=GLOBEX, user_id="bob", session_id="session-secret", client="203.0.113.9"
    )
    text = world.envelopes.seal("report", context=sender)
    shown = urlsafe_b64decode(text.split(".")[2] + "==").decode()

    assert "session-secret" not in shown
    assert "203.0.113.9" not in shown


def test_the_text_is_bounded(world: World) -> None:
    """It rides in headers; and a sender with a thousand roles hears of it at once."""
    many = {f"role-{number}" for number in range(1000)}

    with pytest.raises(ConfigError, match="8192"):
        world.envelopes.seal("report", context=context(roles=many))


@pytest.mark.parametrize(
    "settings",
    [
        {"lifetime": 0},
        {"lifetime": float("nan")},
        {"max_delay": -1},
        {"max_deliveries": 0},
        {"memberships": Directory},
        {"store": object()},
    ],
)
def test_bad_settings_are_refused_when_it_is_built(world: World, settings: dict[str, Any]) -> None:
    """Not by the first job of the night."""
    with pytest.raises(ConfigError):
        world.envelope(**settings)


def test_keys_of_another_purpose_are_refused() -> None:
    """One secret for two formats is how a signature of one becomes one of the other."""
    with pytest.raises(ConfigError):
        EnvelopeKey.parse(SealKey.generate().export())
    with pytest.raises(ConfigError):
        ContextEnvelope([NEW])  # type: ignore[arg-type]


def test_a_delay_longer_than_allowed_is_refused_at_the_sender(world: World) -> None:
    """A job for next year needs another way than today's membership."""
    with pytest.raises(ConfigError, match="max_delay"):
        world.seal(delay=86401)


async def test_a_sender_without_memberships_opens_nothing(world: World) -> None:
    """Keys alone do not prove that the user is still a member."""
    world.envelopes = world.envelope(memberships=None)

    with pytest.raises(ConfigError, match="memberships"):
        await world.open(world.seal())


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    yield
    assert current_context() is None
