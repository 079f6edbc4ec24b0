"""Planted tokens and keys show themselves nowhere: events, logs, reprs, errors, frames, files."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import pytest

from asgi_guard.errors import VaultError, VaultUnavailableError
from asgi_guard.secret import Secret
from asgi_guard.tenancy import use_context
from asgi_guard.vault import InMemoryVaultStore, KeyRing, OAuthToken, TokenVault
from asgi_guard.vault.data_key import DataKey
from asgi_guard.vault.records import Status, StoredSecret
from asgi_guard.vault.slot import Slot
from tests.support.rls_fixtures import EventList
from tests.support.tenancy_world import ACME, context
from tests.support.vault_fixtures import stores
from tests.support.vault_leaks import found_in, rendered, texts_below
from tests.support.vault_stores import Stores
from tests.support.vault_world import World, token

__all__ = ["stores"]

CANARIES = ["canary-access-1f7c", "canary-refresh-9d2e", "canary-smtp-77aa"]


def canary_token(ends: float | None = None) -> OAuthToken:
    return token(CANARIES[0], refresh=CANARIES[1], ends=ends)


async def live_through(world: World, vault: TokenVault) -> list[BaseException]:
    """Do everything that can go well or wrong, and give the errors."""
    errors: list[BaseException] = []

    async def attempt(call: Callable[[], Awaitable[object]]) -> None:
        try:
            await call()
        except VaultError as error:
            errors.append(error)

    ended = canary_token(world.clock.now() - 1)
    await attempt(lambda: vault.connect("google", ended))
    await attempt(lambda: vault.connect("google", ended))
    world.provider.trouble = ConnectionError(f"400: grant {CANARIES[1]} for {CANARIES[0]}")
    await attempt(lambda: vault.get("google"))
    world.clock.time += 10
    world.provider.trouble = None
    await attempt(lambda: vault.get("google"))
    await attempt(lambda: vault.reconnect("google", canary_token()))
    world.provider.trouble = ConnectionError(f"invalid token {CANARIES[0]}")
    await attempt(lambda: vault.verify("google"))
    await attempt(lambda: vault.revoke("google"))
    await attempt(lambda: vault.put_secret("smtp", Secret(CANARIES[2])))
    await attempt(lambda: vault.get_secret("smtp"))
    return errors


async def test_nothing_planted_shows_itself(
    stores: Stores, rls_events: EventList, capsys: pytest.CaptureFixture[str]
) -> None:
    """One look at everything that leaves the vault, and at everything it writes down."""
    world = World()
    vault = world.vault(stores.another())
    with use_context(context(ACME)):
        errors = await live_through(world, vault)
    if stores.database is not None:
        rows = await _dump(stores)
    else:
        rows = texts_below(stores.folder) if stores.kind == "file" else repr(vars(stores.memory))
    told = [repr(event) + json.dumps(dict(event.details)) for event in rls_events]
    held = [repr(vars(vault)), repr(canary_token()), repr(world.master)]

    assert len(errors) == 4
    assert len(told) > 8
    everything = "\n".join([*map(rendered, errors), *told, *held, rows, *capsys.readouterr()])
    master = world.master._LocalMasterKey__key  # type: ignore[attr-defined]
    assert found_in(everything, [*CANARIES, master]) == []


async def _dump(stores: Stores) -> str:
    """Give all three tables as text, as a thief of the database has them."""
    vault = stores.another()
    with use_context(context(ACME)):
        entry = await vault.load(Slot(ACME, "alice", "secret:smtp"))
        keys = await vault.keys(ACME)
    if entry.secret is None:
        raise LookupError("the scene has changed")
    return entry.secret.envelope.decode("latin-1") + "".join(
        key.wrapped.decode("latin-1") for key in keys
    )


class AwayWhenWriting(InMemoryVaultStore):
    """Fails each write while the plaintext is in somebody's hands."""

    async def save(
        self, slot: Slot, secret: StoredSecret, *, expected: int, status: Status
    ) -> bool:
        raise VaultUnavailableError("vault_database")


async def test_a_failing_write_shows_no_plaintext_in_its_frames() -> None:
    """Error reporters send the locals of every frame to somebody else's servers."""
    vault = World().vault(AwayWhenWriting())
    with use_context(context(ACME)):
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: vault.connect("google", canary_token()),
            lambda: vault.put_secret("smtp", Secret(CANARIES[2])),
        ]
        for call in calls:
            with pytest.raises(VaultUnavailableError) as caught:
                await call()
            assert found_in(rendered(caught.value), CANARIES) == []


async def test_a_refusal_to_open_shows_no_key_in_its_frames(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The data key is in hand when the tag does not fit."""
    made: list[bytes] = []
    build = DataKey.__init__

    def remember(self: DataKey, key: bytes) -> None:
        made.append(key)
        build(self, key)

    monkeypatch.setattr(DataKey, "__init__", remember)
    store, world = InMemoryVaultStore(), World()
    slot = Slot(ACME, "alice", "google")
    with use_context(context(ACME)):
        await world.vault(store).connect("google", canary_token())
        kept = (await store.load(slot)).secret
        assert kept is not None
        altered = kept.envelope[:-1] + bytes([kept.envelope[-1] ^ 1])
        await store.save(slot, StoredSecret(1, 1, altered), expected=1, status=Status.CONNECTED)
        with pytest.raises(VaultError) as caught:
            await world.vault(store).get("google")

    assert caught.value.code == "vault_altered"
    assert made
    master = world.master._LocalMasterKey__key  # type: ignore[attr-defined]
    assert found_in(rendered(caught.value), [*made, master, *CANARIES]) == []


@pytest.mark.parametrize("form", [repr, str, "{}".format, "%s".__mod__])
def test_values_hide_in_every_form(form: Callable[[object], str]) -> None:
    """What is printed in a hurry."""
    kept = canary_token()
    for shown in (kept, kept.access_token, KeyRing(World().master), DataKey(bytes(range(32)))):
        assert found_in(form(shown), [*CANARIES, bytes(range(32))]) == []


def test_the_search_finds_what_is_in_sight() -> None:
    """Negative control: in a message, a frame, a cause, and in base64."""

    def fail(plaintext: bytes) -> None:
        raise VaultError(f"could not store {plaintext!r}")

    try:
        fail(CANARIES[0].encode())
    except VaultError as error:
        caught = error

    assert found_in(rendered(caught), CANARIES)
    assert found_in("Y2FuYXJ5LWFjY2Vzcy0xZjdj", CANARIES)
    assert found_in(bytes(range(32)).hex(), [bytes(range(32))])
