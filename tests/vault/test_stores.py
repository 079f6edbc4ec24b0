"""One contract for every store: what the vault relies on, in memory, in files and in SQL."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from asgi_guard.tenancy import use_context
from asgi_guard.vault import VaultStore
from asgi_guard.vault.records import Entry, Head, Status, StoredKey, StoredSecret
from asgi_guard.vault.slot import Slot
from tests.support.tenancy_world import ACME, context
from tests.support.vault_stores import Stores

SLOT = Slot(ACME, "alice", "google")
KEY = StoredKey(1, b"key-id-1", "local:m1", b"wrapped bytes \x00\xff")
SECRET = StoredSecret(1, 1, b"envelope \x00\xff")


@pytest.fixture(autouse=True)
def acme() -> Iterator[None]:
    with use_context(context(ACME)):
        yield


@pytest.fixture
async def keyed(store: VaultStore) -> VaultStore:
    """Give a store with a data key in it."""
    assert await store.add_key(ACME, KEY)
    return store


async def test_an_empty_store_has_nothing(store: VaultStore) -> None:
    """And says so without an error."""
    assert isinstance(store, VaultStore)
    assert await store.load(SLOT) == Entry(None, None, None)
    assert list(await store.keys(ACME)) == []
    assert await store.count_secrets(ACME) == 0
    assert not await store.set_status(SLOT, expected=0, status=Status.BROKEN)


async def test_what_was_saved_is_there_for_every_process(stores: Stores, keyed: VaultStore) -> None:
    """With its key and its head, byte for byte."""
    assert await keyed.save(SLOT, SECRET, expected=0, status=Status.CONNECTED)

    assert await stores.another().load(SLOT) == Entry(Head(1, Status.CONNECTED), SECRET, KEY)
    assert await keyed.count_secrets(ACME) == 1


@pytest.mark.parametrize("expected", [1, 3, -1, 0])
async def test_a_write_on_a_stale_version_changes_nothing(keyed: VaultStore, expected: int) -> None:
    """Compare and set is what keeps two writers from losing each other's token."""
    await keyed.save(SLOT, SECRET, expected=0, status=Status.CONNECTED)
    await keyed.save(SLOT, StoredSecret(2, 1, b"two"), expected=1, status=Status.VERIFIED)
    late = StoredSecret(expected + 1, 1, b"late")

    assert not await keyed.save(SLOT, late, expected=expected, status=Status.CONNECTED)
    assert not await keyed.set_status(SLOT, expected=expected, status=Status.BROKEN)
    assert not await keyed.revoke(SLOT, expected=expected)
    assert await keyed.load(SLOT) == Entry(
        Head(2, Status.VERIFIED), StoredSecret(2, 1, b"two"), KEY
    )


async def test_of_many_writers_of_one_version_one_wins(stores: Stores, keyed: VaultStore) -> None:
    """In eight processes at once."""
    others = [stores.another() for _ in range(8)]
    won = await asyncio.gather(
        *(
            other.save(SLOT, StoredSecret(1, 1, bytes([n])), expected=0, status=Status.CONNECTED)
            for n, other in enumerate(others)
        )
    )

    assert sum(won) == 1
    entry = await keyed.load(SLOT)
    assert entry.secret is not None
    assert entry.secret.envelope == bytes([won.index(True)])


async def test_revoking_removes_the_secret_and_keeps_the_mark(keyed: VaultStore) -> None:
    """Version numbers go on, so that an old row does not fit any more."""
    await keyed.save(SLOT, SECRET, expected=0, status=Status.CONNECTED)

    assert await keyed.revoke(SLOT, expected=1)

    assert await keyed.load(SLOT) == Entry(Head(2, Status.REVOKED), None, None)
    assert await keyed.save(SLOT, StoredSecret(3, 1, b"x"), expected=2, status=Status.CONNECTED)


async def test_nothing_is_saved_under_a_key_that_is_not_there(keyed: VaultStore) -> None:
    """It could never be opened again."""
    lost = StoredSecret(1, 2, b"x")

    assert not await keyed.save(SLOT, lost, expected=0, status=Status.CONNECTED)
    assert await keyed.load(SLOT) == Entry(None, None, None)


async def test_each_number_of_a_key_is_given_once(keyed: VaultStore) -> None:
    """Two processes that make a tenant's first key at once must end with one."""
    assert not await keyed.add_key(ACME, StoredKey(1, b"other-id", "local:m2", b"other"))
    assert await keyed.add_key(ACME, StoredKey(2, b"other-id", "local:m2", b"other"))
    assert [key.number for key in await keyed.keys(ACME)] == [1, 2]


async def test_a_key_in_use_and_the_newest_are_not_dropped(keyed: VaultStore) -> None:
    """Dropping it would lose every secret it seals."""
    await keyed.save(SLOT, SECRET, expected=0, status=Status.CONNECTED)
    assert not await keyed.drop_key(ACME, 1)
    await keyed.add_key(ACME, StoredKey(2, b"other-id", "local:m2", b"other"))

    assert not await keyed.drop_key(ACME, 1)
    await keyed.save(SLOT, StoredSecret(2, 2, b"two"), expected=1, status=Status.CONNECTED)
    assert await keyed.drop_key(ACME, 1)
    assert not await keyed.drop_key(ACME, 1)
    assert not await keyed.drop_key(ACME, 2)
    assert [key.number for key in await keyed.keys(ACME)] == [2]


async def test_slots_of_older_keys_are_listed_page_by_page(keyed: VaultStore) -> None:
    """Rotation resumes where it was, whatever became of the rows before."""
    await keyed.add_key(ACME, StoredKey(2, b"other-id", "local:m2", b"other"))
    for number in range(7):
        place = Slot(ACME, f"user-{number // 2}", f"p{number % 2}")
        sealed = StoredSecret(1, 2 if number == 3 else 1, b"x")
        await keyed.save(place, sealed, expected=0, status=Status.CONNECTED)

    seen: list[Slot] = []
    while page := await keyed.sealed_before(ACME, 2, after=seen[-1] if seen else None, limit=2):
        seen += page

    assert seen == sorted(seen)
    assert len(seen) == 6
    assert Slot(ACME, "user-1", "p1") not in seen


@pytest.mark.parametrize("with_key", [True, False])
async def test_shredding_leaves_no_key_and_admits_no_new_one(
    store: VaultStore, *, with_key: bool
) -> None:
    """A writer that was on its way must not bring the tenant back."""
    if with_key:
        await store.add_key(ACME, KEY)
        await store.save(SLOT, SECRET, expected=0, status=Status.CONNECTED)

    assert await store.shred(ACME) == int(with_key)

    kept = await store.keys(ACME)
    assert [key.shredded for key in kept] == [True]
    assert all(key.wrapped == b"" for key in kept)
    assert not await store.add_key(ACME, StoredKey(2, b"other-id", "local:m2", b"other"))
    assert not await store.save(SLOT, StoredSecret(3, 1, b"x"), expected=2, status=Status.CONNECTED)
    assert (await store.load(SLOT)).secret is None
    assert await store.shred(ACME) == 0


async def test_keys_made_while_a_tenant_is_shredded_do_not_outlive_it(stores: Stores) -> None:
    """Ten processes add keys, one shreds: whatever the order, no live key is left."""
    makers = [stores.another() for _ in range(10)]
    await asyncio.gather(
        *(
            maker.add_key(ACME, StoredKey(number + 1, b"8 bytes.", "local:m1", b"wrapped"))
            for number, maker in enumerate(makers[:5])
        ),
        stores.another().shred(ACME),
        *(
            maker.add_key(ACME, StoredKey(number + 6, b"8 bytes.", "local:m1", b"wrapped"))
            for number, maker in enumerate(makers[5:])
        ),
    )

    assert all(key.shredded for key in await makers[0].keys(ACME))


async def test_masters_in_use_are_known_across_tenants(stores: Stores, keyed: VaultStore) -> None:
    """A master is retired only when no tenant needs it."""
    other = "00000000-0000-0000-0000-0000000610be"
    with use_context(context(other)):
        await stores.another().add_key(other, KEY)

    assert sorted(await keyed.tenants_under("local:m1")) == sorted([ACME, other])
    assert list(await keyed.tenants_under("local:m2")) == []
    await keyed.shred(ACME)
    assert list(await keyed.tenants_under("local:m1")) == [other]


async def test_one_at_a_time_in_a_slot_and_others_not_held_up(
    stores: Stores, keyed: VaultStore
) -> None:
    """The wall between two processes that would both use up one refresh token."""
    await keyed.save(SLOT, SECRET, expected=0, status=Status.CONNECTED)
    neighbour = SLOT._replace(user_id="bob")
    await keyed.save(neighbour, SECRET, expected=0, status=Status.CONNECTED)
    order: list[str] = []
    inside, leave = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with stores.another().exclusive(SLOT) as held:
            order.append("first in")
            inside.set()
            await leave.wait()
            two = StoredSecret(2, 1, b"two")
            assert await held.save(SLOT, two, expected=1, status=Status.CONNECTED)
            order.append("first out")

    async def second() -> None:
        await inside.wait()
        async with stores.another().exclusive(SLOT) as held:
            order.append("second in")
            assert (await held.load(SLOT)).version == 2

    async def beside() -> None:
        await inside.wait()
        async with stores.another().exclusive(neighbour):
            order.append("beside")
        leave.set()

    async with asyncio.timeout(20):
        await asyncio.gather(first(), second(), beside())

    assert order == ["first in", "beside", "first out", "second in"]


async def test_a_lock_ends_with_its_holder(stores: Stores, keyed: VaultStore) -> None:
    """A cancelled refresh must not lock a user out."""
    await keyed.save(SLOT, SECRET, expected=0, status=Status.CONNECTED)

    async def hold() -> None:
        async with stores.another().exclusive(SLOT):
            await asyncio.Event().wait()

    holder = asyncio.create_task(hold())
    await asyncio.sleep(0.05)
    holder.cancel()
    await asyncio.gather(holder, return_exceptions=True)

    async with asyncio.timeout(10), stores.another().exclusive(SLOT):
        pass
