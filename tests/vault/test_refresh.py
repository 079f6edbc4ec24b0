"""An expired token is exchanged once, whoever waits, and nothing that was stored is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.errors import (
    VaultNotConnectedError,
    VaultRefreshError,
    VaultUnavailableError,
)
from asgi_guard.tenancy import use_context
from asgi_guard.vault import InMemoryVaultStore, OAuthToken, Status, VaultStore
from asgi_guard.vault.records import StoredKey
from asgi_guard.vault.slot import Slot
from tests.support.rls_fixtures import EventList
from tests.support.tenancy_world import ACME, GLOBEX, context
from tests.support.vault_stores import Stores
from tests.support.vault_world import World, token


async def test_a_hundred_callers_in_four_processes_ask_the_provider_once(stores: Stores) -> None:
    """A second use of a rotating refresh token ends the grant (RFC 9700 section 4.14.2)."""
    world = World()
    processes = [world.vault(stores.another()) for _ in range(4)]
    with use_context(context(ACME)):
        await processes[0].connect("google", world.expired())
        async with asyncio.timeout(60):
            tokens = await asyncio.gather(
                *(processes[number % 4].get("google") for number in range(100))
            )

    assert world.provider.refreshed == 1
    assert {back.access_token.reveal() for back in tokens} == {"access-1"}


async def test_the_rotated_refresh_token_is_the_one_that_is_kept(
    stores: Stores, rls_events: EventList
) -> None:
    """Three times over, seen from another process each time."""
    world = World()
    with use_context(context(ACME)):
        await world.vault(stores.another()).connect("google", world.expired())
        for number in (1, 2, 3):
            back = await world.vault(stores.another()).get("google")
            assert back.access_token.reveal() == f"access-{number}"
            world.clock.time += 3600

    assert rls_events.names.count("VAULT_REFRESHED") == 3


async def test_a_provider_that_gives_no_new_refresh_token_keeps_the_old(store: VaultStore) -> None:
    """RFC 6749 section 6."""
    world = World()
    world.provider.rotates = False
    vault = world.vault(store)
    with use_context(context(ACME)):
        await vault.connect("google", world.expired())
        back = await vault.get("google")

    assert back.refresh_token is not None
    assert back.refresh_token.reveal() == "r0"


@pytest.mark.parametrize(("left", "refreshed"), [(61, 0), (60, 1), (1, 1), (0, 1), (-1, 1)])
async def test_a_token_is_refreshed_a_little_before_its_end(left: float, refreshed: int) -> None:
    """It must still be good when the third party looks at it."""
    world = World()
    vault = world.vault(InMemoryVaultStore(), early=60.0)
    with use_context(context(ACME)):
        await vault.connect("google", token("old", ends=world.clock.now() + left))
        await vault.get("google")

    assert world.provider.refreshed == refreshed


async def test_tokens_that_live_shorter_than_the_margin_are_not_exchanged_on_each_look() -> None:
    """A provider whose tokens live 30 seconds would be asked by every request."""
    world = World()
    vault = world.vault(InMemoryVaultStore(), early=7200.0, retry_after=5.0)
    with use_context(context(ACME)):
        await vault.connect("google", world.expired())
        for _ in range(20):
            assert (await vault.get("google")).access_token.reveal() == "access-1"
        assert world.provider.refreshed == 1
        world.clock.time += 5
        assert (await vault.get("google")).access_token.reveal() == "access-2"


async def test_a_failed_refresh_leaves_the_old_one_and_says_so(
    stores: Stores, rls_events: EventList
) -> None:
    """Every waiter gets the same clear error; once the provider is back, it works again."""
    world = World()
    vault = world.vault(stores.another(), retry_after=5.0)
    world.provider.trouble = ConnectionError("refused: refresh_token=r0")
    with use_context(context(ACME)):
        await vault.connect("google", world.expired())
        failures = await asyncio.gather(
            *(vault.get("google") for _ in range(10)), return_exceptions=True
        )
        world.provider.trouble = None
        with pytest.raises(VaultRefreshError):
            await vault.get("google")
        world.clock.time += 5
        assert (await vault.get("google")).access_token.reveal() == "access-1"

    assert all(isinstance(failure, VaultRefreshError) for failure in failures)
    assert {failure.status for failure in failures if isinstance(failure, VaultRefreshError)} == {
        503
    }
    told = [event for event in rls_events if event.name == "VAULT_REFRESH_FAILED"]
    assert [event.reason for event in told] == ["ConnectionError"]
    assert "r0" not in repr(failures) + repr(told)


async def test_a_token_that_is_still_good_is_used_while_the_provider_is_away() -> None:
    """An outage of a minute must not reach users whose token has a minute left."""
    world = World()
    vault = world.vault(InMemoryVaultStore(), early=60.0)
    world.provider.trouble = ConnectionError("away")
    with use_context(context(ACME)):
        await vault.connect("google", token("old", ends=world.clock.now() + 30))
        assert (await vault.get("google")).access_token.reveal() == "old"
        world.clock.time += 30
        with pytest.raises(VaultRefreshError):
            await vault.get("google")


async def test_a_grant_that_is_gone_asks_for_a_reconnect_and_not_the_provider(
    store: VaultStore,
) -> None:
    """Asking again and again would look like an attack to them."""
    world = World()
    vault = world.vault(store)
    world.provider.current = "another"
    with use_context(context(ACME)):
        await vault.connect("google", world.expired())
        for _ in range(3):
            with pytest.raises(VaultNotConnectedError) as caught:
                await vault.get("google")
            assert caught.value.reason == "reconnect_required"
        assert await vault.status("google") is Status.BROKEN
        world.provider.current = "r0"
        await vault.reconnect("google", world.expired())
        assert (await vault.get("google")).access_token.reveal() == "access-1"


@pytest.mark.parametrize("refresh", [None, "r0"])
async def test_an_expired_token_without_a_way_on_is_no_token(refresh: str | None) -> None:
    """No refresh token, or nobody who could use it."""
    world = World()
    connectors = [world.connector()] if refresh is None else []
    vault = world.vault(InMemoryVaultStore(), connectors=connectors)
    with use_context(context(ACME)):
        await vault.connect("google", token(refresh=refresh, ends=world.clock.now() + 10))
        await vault.get("google")
        world.clock.time += 10
        with pytest.raises(VaultNotConnectedError) as caught:
            await vault.get("google")

    assert caught.value.reason == "expired"


async def test_a_caller_that_goes_away_cuts_off_nobody(store: VaultStore) -> None:
    """The provider has used up the old refresh token by then: the new one must be stored."""
    world = World()
    vault = world.vault(store)
    world.provider.gate = asyncio.Event()
    with use_context(context(ACME)):
        await vault.connect("google", world.expired())
        impatient = asyncio.create_task(vault.get("google"))
        await world.provider.reached.wait()
        patient = asyncio.create_task(vault.get("google"))
        await asyncio.sleep(0.05)
        impatient.cancel()
        await asyncio.gather(impatient, return_exceptions=True)
        world.provider.gate.set()
        assert (await patient).access_token.reveal() == "access-1"
        assert (await world.vault(store).get("google")).access_token.reveal() == "access-1"

    assert impatient.cancelled()
    assert world.provider.refreshed == 1


async def test_all_callers_gone_the_exchange_is_still_finished(store: VaultStore) -> None:
    """And so if the credential of the one who asked has ended meanwhile."""
    world = World()
    world.clock.time = SYSTEM_CLOCK.now() + 3600  # the database's guard has a clock of its own
    vault = world.vault(store)
    world.provider.gate = asyncio.Event()
    with use_context(context(ACME)):
        await vault.connect("google", world.expired())
    with use_context(context(ACME, expires_at=world.clock.now() + 1)):
        caller = asyncio.create_task(vault.get("google"))
    async with asyncio.timeout(20):
        await world.provider.reached.wait()
    world.clock.time += 1
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    world.provider.gate.set()
    await asyncio.gather(*vault._refresher._flights.values())

    with use_context(context(ACME)):
        assert (await world.vault(store).get("google")).access_token.reveal() == "access-1"
    assert world.provider.refreshed == 1


async def test_a_reconnect_during_a_refresh_wins(stores: Stores) -> None:
    """What the user has just granted is newer than what was being exchanged."""
    world = World()
    vault, other = world.vault(stores.another()), world.vault(stores.another())
    world.provider.gate = asyncio.Event()
    with use_context(context(ACME)):
        await vault.connect("google", world.expired())
        getting = asyncio.create_task(vault.get("google"))
        await world.provider.reached.wait()
        reconnecting = asyncio.create_task(other.reconnect("google", token("fresh")))
        await asyncio.sleep(0.1)
        world.provider.gate.set()
        await asyncio.gather(getting, reconnecting)
        assert (await vault.get("google")).access_token.reveal() == "fresh"

    assert world.provider.revoked == []


async def test_a_revoke_during_a_refresh_holds(stores: Stores) -> None:
    """And the token that came too late does not live on at the provider."""
    world = World()
    vault, other = world.vault(stores.another()), world.vault(stores.another())
    world.provider.gate = asyncio.Event()
    with use_context(context(ACME)):
        await vault.connect("google", world.expired())
        getting = asyncio.create_task(vault.get("google"))
        await world.provider.reached.wait()
        revoking = asyncio.create_task(other.revoke("google"))
        await asyncio.sleep(0.1)
        world.provider.gate.set()
        await asyncio.gather(getting, revoking, return_exceptions=True)
        assert await vault.status("google") is Status.REVOKED
        with pytest.raises(VaultNotConnectedError):
            await vault.get("google")

    if stores.kind != "sql":  # there the revoke waits for the row, and finds the new token
        assert "access-1" in world.provider.revoked


async def test_users_do_not_wait_for_each_other(store: VaultStore) -> None:
    """One flight for each slot."""
    world = World()
    vault = world.vault(store)
    places = [(ACME, "alice"), (ACME, "bob"), (GLOBEX, "alice")]

    async def one(tenant: str, user: str) -> str:
        with use_context(context(tenant, user)):
            return (await vault.get("google")).access_token.reveal()

    world.provider.rotates = False
    for tenant, user in places:
        with use_context(context(tenant, user)):
            await vault.connect("google", world.expired())
    await asyncio.gather(*(one(*place) for place in places))

    assert world.provider.refreshed == 3


class FlakyStore(InMemoryVaultStore):
    """Loses its transaction after the provider has answered, a number of times."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures
        self.seen = 0

    @asynccontextmanager
    async def exclusive(self, slot: Slot, *, hold: float = 60.0) -> AsyncIterator[VaultStore]:
        async with super().exclusive(slot):
            before = self._shelf(slot.tenant_id).load(slot)
            yield self
            self._shelf(slot.tenant_id).heads[slot[1:]] = before.head  # type: ignore[assignment]
            self._shelf(slot.tenant_id).secrets[slot[1:]] = before.secret  # type: ignore[assignment]
            self._fail()

    async def keys(self, tenant_id: str) -> Sequence[StoredKey]:
        if self.seen:
            self._fail()
        return await super().keys(tenant_id)

    def _fail(self) -> None:
        self.seen += 1
        if self.seen <= self.failures:
            raise VaultUnavailableError("vault_database")


async def test_a_commit_that_fails_after_the_exchange_is_tried_again() -> None:
    """The old refresh token is used up: dropping the new one would disconnect the user."""
    world, store = World(), FlakyStore(failures=3)
    vault = world.vault(store)
    with use_context(context(ACME)):
        await vault.connect("google", world.expired())
        assert (await vault.get("google")).access_token.reveal() == "access-1"
        assert (await world.vault(store).get("google")).access_token.reveal() == "access-1"

    assert store.seen > 3


async def test_a_store_that_stays_away_is_said_to_be_away() -> None:
    """Not a token that the next process would not know."""
    world = World()
    vault = world.vault(FlakyStore(failures=99))
    with use_context(context(ACME)):
        await vault.connect("google", world.expired())
        with pytest.raises(VaultRefreshError) as caught:
            await vault.get("google")

    assert caught.value.reason == "not_stored"


async def test_a_provider_that_never_answers_is_given_up() -> None:
    """A lock that is held for ever is an outage of our own."""
    world = World()
    world.provider.gate = asyncio.Event()
    vault = world.vault(InMemoryVaultStore(), connectors=[world.connector(timeout=0.05)])
    with use_context(context(ACME)):
        await vault.connect("google", world.expired())
        with pytest.raises(VaultRefreshError) as caught:
            await vault.get("google")

    assert caught.value.reason == "timeout"


async def test_a_lock_that_another_process_keeps_is_waited_for_and_given_up(
    stores: Stores,
) -> None:
    """A user must get an answer; the other process may be stuck."""
    world = World()
    vault = world.vault(stores.another(), wait=0.2, connectors=[world.connector(timeout=0.2)])
    with use_context(context(ACME)):
        await vault.connect("google", world.expired())
        async with stores.another().exclusive(Slot(ACME, "alice", "google")):
            with pytest.raises(VaultRefreshError) as caught:
                await vault.get("google")
        world.clock.time += 10
        assert (await vault.get("google")).access_token.reveal() == "access-1"

    assert caught.value.reason == "busy"


class AwayStore(InMemoryVaultStore):
    """Cannot be locked."""

    @asynccontextmanager
    async def exclusive(self, slot: Slot, *, hold: float = 60.0) -> AsyncIterator[VaultStore]:
        async with super().exclusive(slot) as held:
            if slot.provider == "google":
                raise VaultUnavailableError("vault_database")
            yield held


async def test_a_store_that_is_away_before_the_exchange_uses_up_nothing() -> None:
    """The refresh token is still good for the next try."""
    world = World()
    vault = world.vault(AwayStore())
    with use_context(context(ACME)):
        await vault.connect("google", world.expired())
        with pytest.raises(VaultRefreshError) as caught:
            await vault.get("google")

    assert caught.value.reason == "vault_database"
    assert world.provider.refreshed == 0


async def test_a_refresh_that_gives_no_token_is_a_failure() -> None:
    """A function of the app that forgot to return."""
    world = World()

    async def forgetful(old: OAuthToken) -> None:
        return None

    vault = world.vault(InMemoryVaultStore(), connectors=[world.connector(refresh=forgetful)])
    with use_context(context(ACME)):
        await vault.connect("google", world.expired())
        with pytest.raises(VaultRefreshError) as caught:
            await vault.get("google")

    assert caught.value.reason == "no_token"


def test_two_event_loops_share_no_flight() -> None:
    """A task of one loop cannot be awaited in another."""
    world = World()
    vault = world.vault(InMemoryVaultStore())

    async def one() -> str:
        with use_context(context(ACME)):
            return (await vault.get("google")).access_token.reveal()

    async def connect() -> None:
        with use_context(context(ACME)):
            await vault.connect("google", world.expired())

    asyncio.run(connect())
    assert asyncio.run(one()) == "access-1"
    world.clock.time += 3600
    assert asyncio.run(one()) == "access-2"
