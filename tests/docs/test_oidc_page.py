"""The OIDC page runs: what it builds logs a user in, and asks each tenant's own provider."""

from __future__ import annotations

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth.oidc import TokenSet, VerifiedLogin
from asgi_guard.protocols import KeyValueStore
from asgi_guard.secret import Secret
from asgi_guard.tenancy import use_context
from asgi_guard.vault import InMemoryVaultStore
from tests.support.oidc_provider import CLIENT
from tests.support.oidc_world import FETCH, Sessions, provider_settings, world
from tests.support.pages import Page
from tests.support.tenancy_world import ACME, context
from tests.support.vault_world import World as VaultWorld


async def test_the_page_of_oidc_runs() -> None:
    """A newcomer's first login must find its user, and turn everybody else away."""
    names = Page("oidc.md").run()
    store = MemoryStore()
    login = names["make_login"](store, Secret("client-secret"))
    names["make_app"](login)
    assert "/auth/callback/*" in login.public_paths

    async with world() as w:
        names["ACCOUNTS"][w.provider.issuer, "alice"] = "u-1"
        service = names["SessionService"](w.store, clock=w.clock)
        sessions = names["SessionLogins"](service, store=w.store, on_login=names["on_login"])
        known = [provider_settings(w.provider)]
        there = names["OIDCLogin"](
            known, sessions=sessions, store=w.store, fetch=FETCH, clock=w.clock
        )
        w.app = names["make_app"](there)

        alice, mallory = w.browser(), w.browser()
        assert (await w.log_in(alice)).status == 303
        assert (await w.log_in(mallory, subject="mallory")).status == 400
        assert alice.is_logged_in
        assert not mallory.is_logged_in
        assert w.refusal() == "account_unknown"


async def test_the_page_s_tenants_have_their_own_providers() -> None:
    """One tenant's provider must not be offered at another's door."""
    names = Page("oidc.md").run()
    async with world() as w:
        settings = {"acme": [provider_settings(w.provider)]}
        store: KeyValueStore = MemoryStore()
        login = names["make_tenant_login"](settings, Sessions(), store)
        login._client.fetch = FETCH  # the page's own fetch does not call loopback
        w.app.routes[0].app = login.app  # type: ignore[attr-defined]
        browser = w.browser()

        at_acme = await browser.go("/auth/login/small", headers=[("x-tenant", "acme")])
        at_globex = await browser.go("/auth/login/small", headers=[("x-tenant", "globex")])

        assert (at_acme.status, at_globex.status) == (303, 400)
        assert CLIENT in (at_acme.header("location") or "")
        assert w.refusal() == "provider_unknown"


async def test_the_page_s_hook_keeps_the_tokens_of_the_user_who_logged_in() -> None:
    """The first login connects, the next one takes the old token's place."""
    names = Page("oidc.md").run()
    vault_world = VaultWorld()
    vault = vault_world.vault(InMemoryVaultStore())
    keep = names["keeping_tokens"](vault)
    login = VerifiedLogin(
        tenant_id=ACME, provider="google", issuer="i", subject="s", user_id="alice"
    )

    for number in (1, 2):
        tokens = TokenSet(access_token=Secret(f"a-{number}"), id_token=Secret("i"))
        await keep(login, tokens)

    with use_context(context(ACME, "alice")):
        assert (await vault.get("google")).access_token.reveal() == "a-2"
