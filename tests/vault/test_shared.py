"""What belongs to a whole tenant: opened by all of its users, changed by its operators."""

from __future__ import annotations

import asyncio

import pytest

from asgi_guard.errors import ConfigError, InsufficientScopeError, VaultNotConnectedError
from asgi_guard.integrations.sql_vault import SqlVaultStore
from asgi_guard.rls import guarded_engine
from asgi_guard.secret import Secret
from asgi_guard.tenancy import UserExecutionContext, use_context
from asgi_guard.vault import InMemoryVaultStore, Status, VaultStore
from tests.support.rls_fixtures import EventList
from tests.support.tenancy_world import ACME, GLOBEX, context
from tests.support.vault_stores import TABLES, VARIABLES, Stores
from tests.support.vault_world import World


def operator(tenant: str = ACME) -> UserExecutionContext:
    return UserExecutionContext(tenant_id=tenant, user_id="root", scopes={"vault:shared"})


async def test_users_of_the_tenant_share_it_and_nobody_else_has_it(
    store: VaultStore, rls_events: EventList
) -> None:
    """One mail server's password for a customer's whole team."""
    vault = World().vault(store)
    with use_context(operator()):
        await vault.shared().put_secret("smtp", Secret("s3cret"))
    with use_context(context(ACME)):
        assert (await vault.shared().get_secret("smtp")).reveal() == "s3cret"
        with pytest.raises(VaultNotConnectedError):  # it is not the user's own
            await vault.get_secret("smtp")
    with use_context(context(GLOBEX)), pytest.raises(VaultNotConnectedError):
        await vault.shared().get_secret("smtp")

    assert [event.details.get("shared") for event in rls_events if "SECRET" in event.name] == [True]


async def test_a_user_without_the_scope_changes_nothing(store: VaultStore) -> None:
    """Attacker's side: one user's own server in the place of the tenant's reads all mail."""
    world = World()
    vault = world.vault(store)
    with use_context(operator()):
        await vault.shared().put_secret("smtp", Secret("s3cret"))
        await vault.shared().connect("google", world.expired())
    with use_context(context(ACME)):
        for change in (
            lambda: vault.shared().put_secret("smtp", Secret("mine")),
            lambda: vault.shared().delete_secret("smtp"),
            lambda: vault.shared().reconnect("google", world.expired()),
            lambda: vault.shared().revoke("google"),
            lambda: vault.shared().connect("other", world.expired()),
        ):
            with pytest.raises(InsufficientScopeError):
                await change()
        assert (await vault.shared().get_secret("smtp")).reveal() == "s3cret"
    with pytest.raises(ConfigError):
        vault.shared(scope="")


async def test_it_is_refreshed_once_for_all_of_its_users(stores: Stores) -> None:
    """The refresh runs for the tenant, and for no user's account."""
    world = World()
    vaults = [world.vault(stores.another()) for _ in range(2)]
    with use_context(operator()):
        await vaults[0].shared().connect("google", world.expired())

    async def look(number: int) -> str:
        user = UserExecutionContext(tenant_id=ACME, user_id=f"user-{number}")
        with use_context(user):
            return (await vaults[number % 2].shared().get("google")).access_token.reveal()

    async with asyncio.timeout(60):
        assert set(await asyncio.gather(*map(look, range(10)))) == {"access-1"}
    assert world.provider.refreshed == 1


async def test_a_users_row_put_in_the_tenants_place_does_not_open(sql_stores: Stores) -> None:
    """Attacker's side: whoever writes rows could else hand a user's token to everybody."""
    vault = World().vault(sql_stores.another())
    with use_context(context(ACME)):
        await vault.put_secret("smtp", Secret("mine"))
    for table in ("vault_secrets", "vault_heads"):
        sql_stores.sql(f"UPDATE {table} SET user_id = ''")

    with use_context(context(ACME)), pytest.raises(Exception, match="vault_swapped"):
        await vault.shared().get_secret("smtp")


@pytest.mark.postgres
async def test_no_connection_is_held_while_the_provider_answers(sql_stores: Stores) -> None:
    """A provider that is slow for one user would else stop the whole app's database work."""
    address = sql_stores.address.replace("postgresql://", "postgresql+asyncpg://", 1)
    engine = guarded_engine(
        address, variables=VARIABLES, pool_size=1, max_overflow=0, pool_timeout=2
    )
    world = World()
    world.provider.gate = asyncio.Event()
    vault = world.vault(SqlVaultStore(engine, TABLES))
    with use_context(context(ACME)):
        await vault.connect("google", world.expired())
        refreshing = asyncio.create_task(vault.get("google"))
        await asyncio.wait_for(world.provider.reached.wait(), 10)
        assert engine.sync_engine.pool.checkedout() == 0  # type: ignore[attr-defined] # a QueuePool
        assert await vault.status("google") is Status.CONNECTED
        world.provider.gate.set()
        assert (await refreshing).access_token.reveal() == "access-1"
    await engine.dispose()


async def test_what_a_dead_process_held_is_free_after_a_while(sql_stores: Stores) -> None:
    """A lease that never ended would lock a user out of a provider for ever."""
    world = World()
    with use_context(context(ACME)):
        await world.vault(sql_stores.another()).connect("google", world.expired())
        sql_stores.sql(
            "UPDATE vault_heads SET lease = 'dead', leased_until = now() - interval '1 second'"
        )
        back = await world.vault(sql_stores.another()).get("google")

    assert back.access_token.reveal() == "access-1"


def test_a_vault_and_its_shared_view_have_one_memory() -> None:
    """Two sets of high-water marks would let a rollback pass one of them."""
    vault = World().vault(InMemoryVaultStore())

    assert vault.shared()._safe is vault._safe
    assert vault._owner_scope is None
