"""One provider answers for another; a code, a challenge or a nonce is somebody else's.

Mix-up (RFC 9207, RFC 9700 section 4.4), code injection (section 4.5), PKCE downgrade (section 4.8),
nonce replay, and one tenant's login at another's door.
"""

from __future__ import annotations

from typing import Any

import pytest

from asgi_guard.auth.oidc import StaticProviders, authorization, id_token
from asgi_guard.auth.oidc.authorization import Callback
from asgi_guard.auth.oidc.provider import OIDCProvider
from asgi_guard.protocols import Principal, Scope
from asgi_guard.tenancy import SLUG
from tests.support.oidc_provider import SmallProvider
from tests.support.oidc_world import parameters, provider_settings, world


def two(provider: SmallProvider) -> list[OIDCProvider]:
    """One honest provider under two names, as if the second were the attacker's."""
    return [provider_settings(provider), provider_settings(provider, name="evil")]


async def test_an_answer_in_another_issuer_s_name_is_refused() -> None:
    """RFC 9207 section 2.4: compare, and do not send the code to anybody."""
    async with world() as w:
        browser = w.browser()
        back = w.provider.authorize(await w.begin(browser))

        await browser.go("/auth/callback/small", **{**back, "iss": "https://evil.example"})

        assert w.refusal() == "iss_mismatch"
        assert w.provider.forms == []


async def test_an_answer_without_the_issuer_that_is_always_sent_is_refused() -> None:
    """Else the attacker's provider would simply leave it out (section 2.4)."""
    async with world() as w:
        browser = w.browser()
        back = w.provider.authorize(await w.begin(browser))

        await browser.go("/auth/callback/small", code=back["code"], state=back["state"])

        assert w.refusal() == "iss_missing"


async def test_an_error_in_another_issuer_s_name_is_refused_as_such() -> None:
    """Error responses carry ``iss`` as well (RFC 9207 section 2)."""
    async with world() as w:
        browser = w.browser()
        back = w.provider.authorize(await w.begin(browser))

        await browser.go(
            "/auth/callback/small",
            error="access_denied",
            state=back["state"],
            iss="https://evil.example",
        )

        assert w.refusal() == "iss_mismatch"


async def test_a_provider_that_never_names_itself_is_told_by_its_callback() -> None:
    """RFC 9700 section 4.4.2.2: a redirect address of its own for each provider."""
    async with world(agreed=two) as w:
        w.provider.metadata["authorization_response_iss_parameter_supported"] = None
        browser = w.browser()
        back = w.provider.authorize(await w.begin(browser))

        await browser.go("/auth/callback/evil", code=back["code"], state=back["state"])

        assert w.refusal() == "provider_mismatch"
        assert w.provider.forms == []


async def test_a_code_of_somebody_else_s_login_is_refused() -> None:
    """Code injection: the victim's code in the attacker's own flow fails at PKCE."""
    async with world() as w:
        victim, attacker = w.browser(), w.browser()
        stolen = w.provider.authorize(await w.begin(victim), subject="alice")["code"]
        back = w.provider.authorize(await w.begin(attacker), subject="mallory")

        await attacker.go("/auth/callback/small", **{**back, "code": stolen})

        assert w.refusal() == "token_code_refused"
        assert not attacker.is_logged_in


async def test_without_pkce_at_the_provider_the_nonce_still_refuses_a_stolen_code() -> None:
    """Two walls: a provider that ignores challenges answers, and the nonce is another's."""
    async with world() as w:
        victim, attacker = w.browser(), w.browser()
        stolen = w.provider.authorize(await w.begin(victim), subject="alice")["code"]
        back = w.provider.authorize(await w.begin(attacker), subject="mallory")
        mine = w.provider.codes[back["code"]]["code_challenge"]
        w.provider.codes[stolen]["code_challenge"] = mine  # as if it were never compared

        await attacker.go("/auth/callback/small", **{**back, "code": stolen})

        assert w.refusal() == "id_token_nonce_mismatch"


async def test_a_challenge_taken_out_of_the_request_does_not_help() -> None:
    """PKCE downgrade (section 4.8): the verifier is sent all the same."""
    async with world() as w:
        browser = w.browser()
        location = await w.begin(browser)
        assert parameters(location)["code_challenge_method"] == "S256"
        back = w.provider.authorize(location)

        await browser.go("/auth/callback/small", **back)

        [form] = w.provider.forms
        assert len(form["code_verifier"]) == 43
        assert form["code_verifier"] not in location


async def test_an_id_token_of_an_earlier_login_is_refused() -> None:
    """Nonce replay: a token that was captured once must not log in again."""
    async with world() as w:
        await w.log_in(w.browser())
        old = w.tokens[0][1].id_token.reveal()
        w.provider.tokens["id_token"] = old
        browser = w.browser()

        answer = await w.log_in(browser)

        assert answer.status == 400
        assert w.refusal() == "id_token_nonce_mismatch"


def named_tenant(scope: Scope, _principal: Principal) -> str | None:
    return dict(scope["headers"]).get(b"x-tenant", b"").decode() or None


def of_each_tenant(provider: SmallProvider) -> StaticProviders:
    return StaticProviders(
        tenants={name: [provider_settings(provider)] for name in ("acme", "globex")}
    )


async def test_a_login_that_began_at_one_tenant_cannot_end_at_another() -> None:
    """Else whoever has an account at any tenant has one at yours."""
    options: dict[str, Any] = {"resolver": named_tenant, "tenant_shape": SLUG}
    async with world(agreed=of_each_tenant, **options) as w:
        browser = w.browser()
        answer = await browser.go("/auth/login/small", headers=[("x-tenant", "acme")])
        back = w.provider.authorize(answer.header("location") or "")

        await browser.go("/auth/callback/small", headers=[("x-tenant", "globex")], **back)

        assert w.refusal() == "tenant_mismatch"
        assert w.provider.forms == []


@pytest.mark.parametrize(
    ("named", "reason"),
    [("", "tenant_missing"), ("ACME", "tenant_not_slug"), ("x", "provider_unknown")],
)
async def test_a_tenant_that_is_none_has_no_login(named: str, reason: str) -> None:
    """An unknown tenant looks like one without this provider."""
    options: dict[str, Any] = {"resolver": named_tenant, "tenant_shape": SLUG}
    async with world(agreed=of_each_tenant, **options) as w:
        await w.browser().go("/auth/login/small", headers=[("x-tenant", named)])

        assert w.refusal() == reason


async def test_a_registry_that_fails_lets_nobody_in() -> None:
    """An error of the app's own look-up is a 503, and its text goes nowhere."""

    class Broken:
        async def of_tenant(self, tenant_id: str | None) -> list[OIDCProvider]:
            raise OSError("connection to db-7 as admin failed")

    async with world(agreed=lambda _: Broken()) as w:
        answer = await w.browser().go("/auth/login/small")

        assert (answer.status, w.refusal()) == (503, "providers_unreachable")
        assert b"db-7" not in answer.body


async def test_a_tenant_s_settings_that_changed_meanwhile_end_the_login() -> None:
    """The code must not go to an issuer that the browser was not sent to."""
    known: list[OIDCProvider] = []

    class Registry:
        async def of_tenant(self, tenant_id: str | None) -> list[OIDCProvider]:
            return known

    async with world(agreed=lambda _: Registry()) as w:
        known[:] = [provider_settings(w.provider)]
        browser = w.browser()
        back = w.provider.authorize(await w.begin(browser))
        known[:] = [provider_settings(w.provider, client_id="another")]

        await browser.go("/auth/callback/small", **back)

        assert w.refusal() == "provider_changed"


async def test_a_client_that_does_not_compare_the_issuer_would_be_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control of the mix-up tests."""
    monkeypatch.setattr(Callback, "proven_code", lambda self, *_: self.code)
    async with world() as w:
        browser = w.browser()
        back = w.provider.authorize(await w.begin(browser))

        answer = await browser.go("/auth/callback/small", **{**back, "iss": "https://evil.example"})

        assert answer.status == 303


async def test_a_client_that_does_not_compare_the_nonce_would_be_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control of the replay test."""
    monkeypatch.setattr(id_token, "equal", lambda *_: True)
    async with world() as w:
        await w.log_in(w.browser())
        w.provider.tokens["id_token"] = w.tokens[0][1].id_token.reveal()

        assert (await w.log_in(w.browser())).status == 303


async def test_a_client_with_one_verifier_for_all_would_be_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control of the injection test: the provider then hands out the victim's tokens."""
    from asgi_guard.auth.oidc import code_flow  # noqa: PLC0415 - the module whose name is replaced

    monkeypatch.setattr(code_flow, "new_verifier", lambda: "v" * 43)
    assert authorization.new_verifier() != authorization.new_verifier()
    async with world() as w:
        victim, attacker = w.browser(), w.browser()
        stolen = w.provider.authorize(await w.begin(victim), subject="alice")["code"]
        back = w.provider.authorize(await w.begin(attacker), subject="mallory")

        await attacker.go("/auth/callback/small", **{**back, "code": stolen})

        assert w.refusal() == "id_token_nonce_mismatch"  # the second wall, and the last
