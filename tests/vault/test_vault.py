"""TokenVault: a token's life from connect to revoke, on every store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from asgi_guard.errors import (
    ConfigError,
    ContextExpiredError,
    ContextMissingError,
    VaultConflictError,
    VaultNotConnectedError,
    VaultOpenError,
    VaultRefreshError,
)
from asgi_guard.secret import Secret
from asgi_guard.tenancy import use_context
from asgi_guard.vault import (
    Connector,
    InMemoryVaultStore,
    KeyRing,
    OAuthToken,
    Status,
    TokenVault,
    VaultStore,
)
from tests.support.rls_fixtures import EventList
from tests.support.tenancy_world import ACME, GLOBEX, context
from tests.support.vault_stores import Stores
from tests.support.vault_world import World, token


async def test_a_connected_token_comes_back_whole(store: VaultStore) -> None:
    """Everything that the provider said, and nothing of it in sight."""
    vault = World().vault(store)
    with use_context(context(ACME)):
        await vault.connect("google", token("secret-access", ends=2e9))
        back = await vault.get("google")

    assert back.access_token.reveal() == "secret-access"
    assert back.refresh_token is not None
    assert back.refresh_token.reveal() == "r0"
    assert (back.expires_at, back.scopes, back.token_type) == (2e9, {"read"}, "Bearer")
    assert "secret-access" not in repr(back)


async def test_the_whole_life_of_a_connection(stores: Stores, rls_events: EventList) -> None:
    """Connect, verify, reconnect, revoke, connect again: each leaves its event."""
    world = World()
    vault = world.vault(stores.another())
    with use_context(context(ACME, "alice")):
        assert await vault.status("google") is None
        await vault.connect("google", token("one"))
        assert await vault.status("google") is Status.CONNECTED
        assert await vault.verify("google")
        assert await vault.status("google") is Status.VERIFIED
        await vault.reconnect("google", token("two"))
        assert await vault.status("google") is Status.CONNECTED
        assert await vault.revoke("google")
        assert await vault.status("google") is Status.REVOKED
        with pytest.raises(VaultNotConnectedError) as caught:
            await vault.get("google")
        await vault.connect("google", token("three"))
        assert (await world.vault(stores.another()).get("google")).access_token.reveal() == "three"

    assert caught.value.reason == "revoked"
    assert world.provider.revoked == ["two"]
    seen = [name for name in rls_events.names if name.startswith("VAULT_")]
    assert seen == [
        "VAULT_KEY_MADE",
        "VAULT_CONNECTED",
        "VAULT_OPENED",
        "VAULT_VERIFIED",
        "VAULT_RECONNECTED",
        "VAULT_REVOKED",
        "VAULT_CONNECTED",
        "VAULT_OPENED",
    ]
    vault_events = [event for event in rls_events if event.name.startswith("VAULT_")]
    assert {(event.tenant_id, event.user_id) for event in vault_events} == {(ACME, "alice")}


async def test_each_user_and_tenant_has_a_place_of_its_own(store: VaultStore) -> None:
    """The same user id in two tenants is two people."""
    vault = World().vault(store)
    people = [(ACME, "alice"), (ACME, "bob"), (GLOBEX, "alice")]
    for tenant, user in people:
        with use_context(context(tenant, user)):
            await vault.connect("google", token(f"{tenant} {user}"))
    for tenant, user in people:
        with use_context(context(tenant, user)):
            assert (await vault.get("google")).access_token.reveal() == f"{tenant} {user}"
            with pytest.raises(VaultNotConnectedError):
                await vault.get("slack")


async def test_no_operation_runs_for_nobody(store: VaultStore) -> None:
    """There is no argument for a tenant, so without a context there is none."""
    world = World()
    vault = world.vault(store)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: vault.connect("google", token()),
        lambda: vault.reconnect("google", token()),
        lambda: vault.get("google"),
        lambda: vault.verify("google"),
        lambda: vault.revoke("google"),
        lambda: vault.status("google"),
        lambda: vault.put_secret("smtp", Secret("x")),
        lambda: vault.get_secret("smtp"),
        lambda: vault.delete_secret("smtp"),
        lambda: vault.shred_tenant(confirm=ACME),
    ]
    for call in calls:
        with pytest.raises(ContextMissingError):
            await call()
        with (
            use_context(context(ACME, expires_at=world.clock.now() - 1)),
            pytest.raises(ContextExpiredError),
        ):
            await call()


async def test_connecting_twice_and_reconnecting_nothing_are_refused(store: VaultStore) -> None:
    """The first would drop a token that still lives at the provider."""
    vault = World().vault(store)
    with use_context(context(ACME)):
        with pytest.raises(VaultNotConnectedError):
            await vault.reconnect("google", token())
        with pytest.raises(VaultNotConnectedError):
            await vault.revoke("google")
        await vault.connect("google", token())
        with pytest.raises(VaultConflictError) as caught:
            await vault.connect("google", token())

    assert (caught.value.status, caught.value.reason) == (409, "already_connected")


async def test_secrets_that_are_no_tokens(store: VaultStore, rls_events: EventList) -> None:
    """Stored, replaced, removed; never mixed up with a provider of the same name."""
    vault = World().vault(store)
    with use_context(context(ACME)):
        await vault.put_secret("google", Secret("one"))
        await vault.put_secret("google", Secret("zwei \u20ac"))
        assert (await vault.get_secret("google")).reveal() == "zwei \u20ac"
        with pytest.raises(VaultNotConnectedError):
            await vault.get("google")
        await vault.delete_secret("google")
        for gone in (vault.get_secret, vault.delete_secret):
            with pytest.raises(VaultNotConnectedError):
                await gone("google")

    assert rls_events.names[-1] == "VAULT_SECRET_REMOVED"


async def test_a_provider_that_says_no_asks_for_a_reconnect(
    store: VaultStore, rls_events: EventList
) -> None:
    """Until then nobody uses the token, and a reconnect heals it."""
    world = World()
    vault = world.vault(store)
    world.provider.accepts = False
    with use_context(context(ACME)):
        await vault.connect("google", token())
        assert not await vault.verify("google")
        assert await vault.status("google") is Status.BROKEN
        with pytest.raises(VaultNotConnectedError) as caught:
            await vault.get("google")
        await vault.reconnect("google", token("new"))
        assert (await vault.get("google")).access_token.reveal() == "new"

    assert caught.value.reason == "reconnect_required"
    assert ("VAULT_VERIFIED", "denied") in [(event.name, event.outcome) for event in rls_events]


async def test_a_provider_that_is_away_verifies_nothing(store: VaultStore) -> None:
    """An outage must not disconnect every user."""
    world = World()
    vault = world.vault(store)
    world.provider.trouble = ConnectionError("away")
    with use_context(context(ACME)):
        await vault.connect("google", token())
        with pytest.raises(VaultRefreshError):
            await vault.verify("google")
        assert await vault.status("google") is Status.CONNECTED
        assert not await vault.revoke("google")
        assert await vault.status("google") is Status.REVOKED


async def test_a_shredded_tenant_is_shut_for_ever_and_others_are_not(
    stores: Stores, rls_events: EventList
) -> None:
    """Every secret of it, and whatever it would store later."""
    world = World()
    vault = world.vault(stores.another())
    for tenant in (ACME, GLOBEX):
        with use_context(context(tenant)):
            await vault.connect("google", token(tenant))
            await vault.put_secret("smtp", Secret("x"))
    with use_context(context(ACME)):
        with pytest.raises(ConfigError):
            await vault.shred_tenant(confirm=GLOBEX)
        assert await vault.shred_tenant(confirm=ACME) == 2
        for process in (vault, world.vault(stores.another())):
            with pytest.raises(VaultNotConnectedError):
                await process.get("google")
            with pytest.raises(VaultOpenError, match="vault_shredded"):
                await process.connect("google", token())
    with use_context(context(GLOBEX)):
        assert (await vault.get("google")).access_token.reveal() == GLOBEX

    assert "VAULT_SHREDDED" in rls_events.names


def test_bad_settings_are_refused_when_built() -> None:
    """Not on the first user's first request."""
    world = World()
    for changes in (
        {"store": object()},
        {"keys": world.master},
        {"connectors": [object()]},
        {"connectors": [world.connector(), world.connector()]},
    ):
        settings: dict[str, Any] = {"store": InMemoryVaultStore(), "keys": KeyRing(world.master)}
        with pytest.raises(ConfigError):
            TokenVault(**{**settings, **changes})
    with pytest.raises(ConfigError, match="timeout"):
        world.connector(timeout=0)
    with pytest.raises(ConfigError, match="provider"):
        Connector(provider="Not A Name")


async def test_verify_without_a_way_to_ask_is_a_mistake_of_the_app() -> None:
    """True would be a lie."""
    vault = World().vault(InMemoryVaultStore(), connectors=[])
    with use_context(context(ACME)), pytest.raises(ConfigError, match="verify"):
        await vault.verify("google")
    with use_context(context(ACME)), pytest.raises(ConfigError, match="Secret"):
        await vault.put_secret("smtp", "plain")  # type: ignore[arg-type]


def test_a_token_endpoint_answer_becomes_a_token() -> None:
    """As RFC 6749 section 5.1 has it, and as servers send it."""
    answer = {"access_token": "a", "expires_in": "3600", "refresh_token": "r", "scope": "x y"}

    made = OAuthToken.from_response(answer, now=1000.0)

    assert (made.expires_at, made.scopes) == (4600.0, {"x", "y"})
    assert OAuthToken.from_response({"access_token": "a"}, now=0).expires_at is None
    for bad in ({"error": "invalid_grant"}, {"access_token": ""}, {**answer, "expires_in": "?"}):
        with pytest.raises(ConfigError):
            OAuthToken.from_response(bad, now=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"access_token": "plain"},
        {"access_token": Secret("")},
        {"access_token": Secret("a"), "refresh_token": "plain"},
        {"access_token": Secret("a"), "expires_at": "soon"},
        {"access_token": Secret("a"), "scopes": "read write"},
    ],
)
def test_a_token_in_plain_sight_is_refused(wrong: dict[str, object]) -> None:
    """A plain string would be in the next traceback."""
    with pytest.raises(ConfigError) as caught:
        OAuthToken(**wrong)  # type: ignore[arg-type]
    assert "plain" not in str(caught.value)
