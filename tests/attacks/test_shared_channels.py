"""SQL injected into one tenant's transaction, after another tenant's notifications.

Everything runs as the one runtime role, bound to ALICE; what she is after is BOB's channel.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from asgi_guard.rls import Gap, SealKey, SealKeys, TenantListener, notify
from asgi_guard.rls.shared.channel_seal import ChannelSeal, Opened, Topic
from asgi_guard.rls.shared.replay_window import MAX_AGE, ReplayWindow
from asgi_guard.rls.shared.subscription import Subscription
from asgi_guard.tenancy import use_context
from tests.support.rls_fixtures import EventList
from tests.support.rls_schema import ALICE, BOB, RLSDatabase, context_of
from tests.support.shared_objects import CHANNEL_KEYS, SharedWorld, plain_only

SEAL = ChannelSeal(CHANNEL_KEYS)
ALICES, BOBS = Topic(ALICE, "notes"), Topic(BOB, "notes")


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.at = time.time()

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


@asynccontextmanager
async def bob_listens(
    database: RLSDatabase, clock: Clock | None = None
) -> AsyncIterator[tuple[TenantListener, Subscription]]:
    async with (
        asyncio.timeout(30),
        TenantListener(database.dsn, CHANNEL_KEYS, clock=clock or Clock()) as listener,
    ):
        with use_context(context_of(BOB)):
            items = listener.listen("notes")
            assert await anext(items) == Gap("subscribed")
            yield listener, items


async def inject(shared: SharedWorld, *sent: tuple[str, str]) -> None:
    """Send notifications out of ALICE's transaction, as injected SQL would."""
    async with shared.works_for(ALICE) as handle:
        for name, payload in sent:
            await handle.execute(f"SELECT pg_notify('{name}', '{payload}')")


async def bob_sends(shared: SharedWorld, payload: str) -> None:
    async with shared.works_for(BOB) as handle:
        await notify(handle, "notes", payload, keys=CHANNEL_KEYS)


@pytest.mark.postgres
@plain_only
async def test_control_a_plain_channel_is_everybodys(shared: SharedWorld) -> None:
    """Negative control: what PostgreSQL itself does between tenants of one role."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    bob = await asyncpg.connect(shared.rls.dsn)
    await bob.add_listener("notes", lambda *said: heard.put_nowait(said[3]))

    await inject(shared, ("notes", "data of alice"))

    assert await asyncio.wait_for(heard.get(), 10) == "data of alice"
    await bob.close()


@pytest.mark.postgres
@plain_only
async def test_guessed_names_reach_nobody(shared: SharedWorld) -> None:
    """What the app calls a channel, and what a tenant could compute without the key."""
    guesses = ["notes", f"{BOB}:notes", f"notes_{BOB}"]
    guesses += [ChannelSeal(SealKeys([SealKey.generate()])).name(BOBS), SEAL.name(ALICES)]
    async with bob_listens(shared.rls) as (_, items):
        await inject(shared, *((name, SEAL.seal(BOBS, "guessed")) for name in guesses))
        await bob_sends(shared, "genuine")
        assert await anext(items) == "genuine"


@pytest.mark.postgres
@plain_only
async def test_with_the_name_nothing_forged_gets_in(
    shared: SharedWorld, rls_events: EventList
) -> None:
    """A name that leaked, out of a log perhaps, is not a way in."""
    genuine = SEAL.seal(BOBS, "genuine")
    stranger = ChannelSeal(SealKeys([SealKey.generate()]))
    forged = [
        ("malformed", ""),
        ("malformed", "forged"),
        ("malformed", genuine[:60]),
        ("malformed", "n9" + genuine[2:]),
        ("unknown_key", stranger.seal(BOBS, "another key")),
        ("forged", SEAL.seal(ALICES, "my own, moved")),
        ("forged", SEAL.seal(Topic(BOB, "tasks"), "another channel")),
        ("forged", genuine[:-7] + "changed"),
    ]
    name = SEAL.name(BOBS)
    async with bob_listens(shared.rls) as (_, items):
        await inject(shared, *((name, payload) for _, payload in forged))
        await bob_sends(shared, "genuine")
        assert await anext(items) == "genuine"

    refused = [event for event in rls_events if event.name == "NOTIFICATION_REFUSED"]
    assert {event.reason for event in refused} == {reason for reason, _ in forged}
    assert {event.tenant_id for event in refused} == {BOB}


@pytest.mark.postgres
@plain_only
async def test_a_replay_is_dropped(shared: SharedWorld, rls_events: EventList) -> None:
    """Somebody who has once seen a payload can send it again, and again after a long time."""
    once = SEAL.seal(BOBS, "delete the draft")
    name = SEAL.name(BOBS)
    clock = Clock()
    async with bob_listens(shared.rls, clock) as (_, items):
        await inject(shared, (name, once))
        await inject(shared, (name, once))
        await bob_sends(shared, "first")
        assert [await anext(items), await anext(items)] == ["delete the draft", "first"]
        clock.at += MAX_AGE + 5
        await inject(shared, (name, once))
        await inject(shared, (name, SEAL.seal(BOBS, "of a very long transaction")))
        assert await anext(items) == Gap("late")
        clock.at -= 2 * MAX_AGE
        await inject(shared, (name, SEAL.seal(BOBS, "by a clock that is ahead")))
        assert await anext(items) == Gap("late")

    reasons = [event.reason for event in rls_events if event.name == "NOTIFICATION_REFUSED"]
    assert reasons == ["replayed", "replayed", "late", "early"]


@pytest.mark.postgres
@plain_only
async def test_control_without_the_check_the_forged_one_is_heard(
    shared: SharedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: the attack works against a listener that believes what it hears."""

    def believe(_self: ChannelSeal, _topic: Topic, payload: str) -> Opened:
        return Opened(payload, time.time(), payload)

    monkeypatch.setattr(ChannelSeal, "open", believe)
    async with bob_listens(shared.rls) as (_, items):
        await inject(shared, (SEAL.name(BOBS), "forged"))
        assert await anext(items) == "forged"


@pytest.mark.postgres
async def test_names_are_read_in_no_statement(shared: SharedWorld) -> None:
    """The same role reads the text of the listener's statements, and of those that notify."""
    careless = await asyncpg.connect(shared.rls.dsn)
    await careless.execute(f"LISTEN {SEAL.name(ALICES)}")
    async with bob_listens(shared.rls) as (_, _items), shared.works_for(BOB) as bob:
        await notify(bob, "notes", "x", keys=CHANNEL_KEYS)
        async with shared.works_for(ALICE) as handle:
            texts = [row[0] for row in await handle.fetch("SELECT query FROM pg_stat_activity")]
            own = await handle.fetchval("SELECT count(*) FROM pg_listening_channels()")

    await careless.close()
    assert any(SEAL.name(ALICES) in text for text in texts), "the control: they can be read"
    assert any("pg_notify" in text for text in texts)
    assert [text for text in texts if SEAL.name(BOBS) in text] == []
    assert own == 0


@pytest.mark.postgres
@plain_only
async def test_the_listeners_connection_sees_no_row(shared: SharedWorld) -> None:
    """It works for every tenant, so it must be nobody to the policies."""
    async with bob_listens(shared.rls) as (listener, _items):
        assert listener._connection is not None
        driver = listener._connection._driver
        assert await driver.fetchval("SELECT count(*) FROM notes") == 0
        assert not driver.is_in_transaction()


@pytest.mark.postgres
@plain_only
async def test_a_flood_is_one_event_a_minute_and_no_memory(
    shared: SharedWorld, rls_events: EventList
) -> None:
    """Whoever can send must not be able to fill the log with it."""
    name, clock = SEAL.name(BOBS), Clock()
    flood = [(name, f"forged {number}") for number in range(300)]
    async with bob_listens(shared.rls, clock) as (_, items):
        await inject(shared, *flood)
        await bob_sends(shared, "all of it has arrived")
        assert await anext(items) == "all of it has arrived"
        clock.at += 61
        await inject(shared, *flood[:1])
        await bob_sends(shared, "genuine")
        assert await anext(items) == "genuine"

    told = [event for event in rls_events if event.name == "NOTIFICATION_REFUSED"]
    assert [event.details["more_since_last"] for event in told] == [0, 299]


def test_a_window_forgets_nothing_it_would_let_in_again() -> None:
    """A flood of genuine messages pushes old ones out of memory, never into acceptance."""
    clock = Clock()
    window = ReplayWindow(clock=clock, size=10)
    messages = [Opened("x", clock.at + number / 100, str(number)) for number in range(50)]

    first = [window.admit(message) for message in messages]
    again = [window.admit(message) for message in messages]

    assert first == ["fresh"] * 50
    assert "fresh" not in again
    assert len(window._seen) == 10


def test_a_message_of_tomorrow_is_not_believed() -> None:
    """It would outlive the memory of it."""
    clock = Clock()

    assert ReplayWindow(clock=clock).admit(Opened("x", clock.at + 61, "a")) == "early"


def test_every_changed_character_is_noticed() -> None:
    """The signature covers version, key, time, number, tenant, channel and body."""
    sealed = SEAL.seal(BOBS, "body")
    assert isinstance(SEAL.open(BOBS, sealed), Opened)

    believed = [
        place
        for place, character in enumerate(sealed)
        for other in ("0", "f", "é", "\n")
        if other != character
        and isinstance(SEAL.open(BOBS, sealed[:place] + other + sealed[place + 1 :]), Opened)
    ]

    # The last character of the signature carries two bits that mean nothing (RFC 4648, 3.5).
    assert set(believed) <= {len(sealed) - len("body") - 1}


def test_nothing_of_a_tenant_passes_for_a_channel() -> None:
    """Joined without lengths, ("ab", "c") and ("a", "bc") would be one channel."""
    parts = ["a", "ab", "b", "bc", "c", "1:a", "1:b", "a1:b", "é"]
    made = {SEAL.name(Topic(tenant, channel)) for tenant in parts for channel in parts}

    assert len(made) == len(parts) ** 2
    assert all(len(name) <= 63 and name.isidentifier() and name.islower() for name in made)
    assert SEAL.seal(BOBS, "x") != SEAL.seal(BOBS, "x")
