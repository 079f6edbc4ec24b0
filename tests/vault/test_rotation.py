"""Rotation: every secret under a fresh key, none lost, whoever else is writing meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from asgi_guard.errors import (
    ConfigError,
    VaultKeyInUseError,
    VaultNotConnectedError,
    VaultOpenError,
    VaultUnavailableError,
)
from asgi_guard.secret import Secret
from asgi_guard.tenancy import use_context
from asgi_guard.vault import (
    InMemoryVaultStore,
    KeyRing,
    LocalMasterKey,
    RotationProgress,
    Status,
    TokenVault,
    VaultRotation,
    VaultStore,
    new_master_key,
)
from asgi_guard.vault.records import StoredSecret
from asgi_guard.vault.slot import Slot
from tests.support.rls_fixtures import EventList
from tests.support.tenancy_world import ACME, GLOBEX, context
from tests.support.vault_stores import Stores
from tests.support.vault_world import World, token

OLD = LocalMasterKey(new_master_key())
NEW = LocalMasterKey(new_master_key())


async def filled(store: VaultStore, *, users: int = 5, tenants: Sequence[str] = (ACME,)) -> None:
    """Store a secret for each of *users* under the old master."""
    vault = TokenVault(store=store, keys=KeyRing(OLD))
    for tenant in tenants:
        for number in range(users):
            with use_context(context(tenant, f"user-{number}")):
                await vault.put_secret("smtp", Secret(f"{tenant} {number}"))


async def opened(store: VaultStore, keys: KeyRing, *, users: int = 5, tenant: str = ACME) -> int:
    """Count the secrets that open with *keys* and are the right ones."""
    vault, good = TokenVault(store=store, keys=keys), 0
    for number in range(users):
        with use_context(context(tenant, f"user-{number}")):
            good += (await vault.get_secret("smtp")).reveal() == f"{tenant} {number}"
    return good


async def test_a_new_master_takes_over_and_the_old_one_can_go(
    stores: Stores, rls_events: EventList
) -> None:
    """The whole way that the page on the vault describes."""
    store = stores.another()
    await filled(store, tenants=[ACME, GLOBEX])
    told: list[RotationProgress] = []
    both = KeyRing(NEW, older=[OLD])
    rotation = VaultRotation(store=store, keys=both, batch=2, pause=0, on_progress=told.append)

    with pytest.raises(VaultKeyInUseError) as caught:
        await rotation.retire(OLD.master_id)
    tenants = await rotation.tenants_to_rotate(OLD.master_id)
    done = await rotation.run(tenants)
    await rotation.retire(OLD.master_id)

    assert caught.value.tenants == 2
    assert sorted(tenants) == sorted([ACME, GLOBEX])
    assert [(one.total, one.sealed, one.failed, one.keys_dropped) for one in done] == [
        (5, 5, 0, 1)
    ] * 2
    assert all(one.is_complete for one in done)
    assert [one.sealed for one in told[:4]] == [2, 4, 5, 5]
    for tenant in (ACME, GLOBEX):
        assert await opened(stores.another(), KeyRing(NEW), tenant=tenant) == 5
    assert rls_events.names.count("VAULT_ROTATED") == 2
    assert rls_events.names[-11:].count("VAULT_MASTER_RETIRED") == 1


async def test_without_the_old_master_nothing_opens_before_and_everything_after(
    store: VaultStore,
) -> None:
    """Negative control of the test above: the new master alone opened nothing."""
    await filled(store, users=1)

    with pytest.raises(VaultOpenError, match="vault_master_unknown"):
        await opened(store, KeyRing(NEW), users=1)


class StopsAfter:
    """A listener that ends the run in the middle, as a deployment would."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    def __call__(self, _progress: RotationProgress) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("batches", [0, 1, 2])
async def test_a_run_that_was_stopped_goes_on_where_it_was(stores: Stores, batches: int) -> None:
    """And makes no second key on the way."""
    store = stores.another()
    await filled(store, users=6)
    both = KeyRing(NEW, older=[OLD])
    stopped = VaultRotation(
        store=store, keys=both, batch=2, pause=0, on_progress=StopsAfter(batches)
    )
    with use_context(context(ACME)), pytest.raises(KeyboardInterrupt):
        await stopped.run_current()
    assert await opened(stores.another(), both, users=6) == 6

    with use_context(context(ACME)):
        rest = await VaultRotation(store=stores.another(), keys=both, pause=0).run_current()
        keys = await store.keys(ACME)

    assert rest.is_complete
    assert rest.sealed == 6 - 2 * (batches + 1)
    assert [key.number for key in keys] == [2]
    assert await opened(stores.another(), KeyRing(NEW), users=6) == 6


async def test_writers_go_on_meanwhile_and_nobody_loses(stores: Stores) -> None:
    """Two rotations and four writers at once; each user's last write is what is there."""
    store = stores.another()
    await filled(store, users=4)
    both = KeyRing(NEW, older=[OLD])

    async def write(number: int) -> None:
        vault = TokenVault(store=stores.another(), keys=both)
        for turn in range(10):
            with use_context(context(ACME, f"user-{number}")):
                await vault.put_secret("smtp", Secret(f"turn {turn}"))

    async def rotate() -> RotationProgress:
        with use_context(context(ACME)):
            return await VaultRotation(
                store=stores.another(), keys=both, batch=1, pause=0
            ).run_current(fresh_key=True)

    async with asyncio.timeout(60):
        await asyncio.gather(rotate(), rotate(), *(write(number) for number in range(4)))
    with use_context(context(ACME)):
        last = await VaultRotation(store=store, keys=both, pause=0).run_current()

    assert last.is_complete
    vault = TokenVault(store=stores.another(), keys=KeyRing(NEW))
    for number in range(4):
        with use_context(context(ACME, f"user-{number}")):
            assert (await vault.get_secret("smtp")).reveal() == "turn 9"


async def test_a_secret_that_cannot_be_opened_stays_with_its_key(
    store: VaultStore, rls_events: EventList
) -> None:
    """Somebody may still have the right row; the rotation is not who throws it away."""
    await filled(store, users=3)
    slot = Slot(ACME, "user-1", "secret:smtp")
    with use_context(context(ACME)):
        kept = (await store.load(slot)).secret
        assert kept is not None
        broken = StoredSecret(2, 1, kept.envelope[:-1] + bytes([kept.envelope[-1] ^ 1]))
        assert await store.save(slot, broken, expected=1, status=Status.CONNECTED)
        both = KeyRing(NEW, older=[OLD])
        done = await VaultRotation(store=store, keys=both, pause=0).run_current()

        assert (done.sealed, done.failed, done.is_complete) == (2, 1, False)
        assert [key.number for key in await store.keys(ACME)] == [1, 2]
        assert (await store.load(slot)).secret == broken
    assert "VAULT_OPEN_FAILED" in rls_events.names


async def test_a_status_and_a_revocation_survive_rotation(store: VaultStore) -> None:
    """What is broken or verified stays so, and what is revoked does not come back."""
    vault = World().vault(store, keys=KeyRing(OLD))
    for user in ("alice", "bob"):
        with use_context(context(ACME, user)):
            await vault.connect("google", token(user))
    with use_context(context(ACME, "alice")):
        await vault.verify("google")
    with use_context(context(ACME, "bob")):
        await vault.revoke("google")
    both = KeyRing(NEW, older=[OLD])
    with use_context(context(ACME)):
        await VaultRotation(store=store, keys=both, pause=0).run_current()

    after = World().vault(store, keys=KeyRing(NEW))
    with use_context(context(ACME, "alice")):
        assert await after.status("google") is Status.VERIFIED
        assert (await after.get("google")).access_token.reveal() == "alice"
    with use_context(context(ACME, "bob")), pytest.raises(VaultNotConnectedError):
        await after.get("google")


async def test_tenants_without_keys_and_shredded_ones(store: VaultStore) -> None:
    """Nothing to do is done; what is shredded cannot be rotated."""
    rotation = VaultRotation(store=store, keys=KeyRing(NEW), pause=0)
    with use_context(context(ACME)):
        nothing = await rotation.run_current()
        assert list(await store.keys(ACME)) == []
        await store.shred(ACME)
        with pytest.raises(VaultOpenError, match="vault_shredded"):
            await rotation.run_current()

    assert (nothing.total, nothing.sealed) == (0, 0)
    assert nothing.is_complete


async def test_tenants_are_not_crossed_from_within_a_users_context() -> None:
    """A request handler that rotates everybody has lost its way."""
    rotation = VaultRotation(store=InMemoryVaultStore(), keys=KeyRing(NEW))

    with use_context(context(ACME)), pytest.raises(ConfigError, match="context"):
        await rotation.run([GLOBEX])
    with pytest.raises(ConfigError, match="active"):
        await rotation.retire(NEW.master_id)


def test_bad_settings_are_refused_when_built() -> None:
    """A negative pause is a busy loop."""
    for wrong in ({"batch": 0}, {"pause": -1.0}):
        with pytest.raises(ConfigError):
            VaultRotation(store=InMemoryVaultStore(), keys=KeyRing(NEW), **wrong)


@pytest.mark.postgres
async def test_without_a_system_engine_the_question_across_tenants_is_refused(
    sql_stores: Stores,
) -> None:
    """Asked under a tenant's policies, the answer would be "none" and the key destroyed."""
    store = sql_stores.another()
    store._system_engine = None  # type: ignore[attr-defined]

    with pytest.raises(ConfigError, match="system_engine"):
        await VaultRotation(store=store, keys=KeyRing(NEW)).retire(OLD.master_id)


@pytest.mark.postgres
async def test_a_database_that_is_away_shows_no_sql(sql_stores: Stores) -> None:
    """Its errors carry the statement and its parameters."""
    store = sql_stores.another()
    sql_stores.sql("ALTER TABLE vault_secrets RENAME TO elsewhere")

    with use_context(context(ACME)), pytest.raises(VaultUnavailableError) as caught:
        await store.load(Slot(ACME, "alice", "google"))
    assert str(caught.value) == "vault_unavailable: vault_database"
    assert caught.value.__suppress_context__
