"""Wrong settings are known when the app is built, or when a provider is asked; not at a login."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth.oidc import (
    ClientSecretBasic,
    ClientSecretPost,
    OIDCLogin,
    OIDCProvider,
    PrivateKeyJWT,
    PublicClient,
    StaticProviders,
)
from asgi_guard.errors import ConfigError
from asgi_guard.secret import Secret
from asgi_guard.tenancy import ClaimResolver, PathResolver
from tests.support.jose_tokens import signing_key
from tests.support.oidc_world import FETCH, Sessions, provider_settings, world

GOOD: dict[str, Any] = {
    "name": "company",
    "issuer": "https://id.example",
    "client_id": "web",
    "client_auth": PublicClient(),
    "redirect_uri": "https://app.example/auth/callback/company",
}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("name", ""),
        ("name", "Company"),
        ("name", "a/b"),
        ("name", "../x"),
        ("issuer", "http://id.example"),
        ("issuer", "id.example"),
        ("issuer", "https://id.example/#a"),
        ("issuer", "https://id.example/?a"),
        ("issuer", "https://me@id.example"),
        ("issuer", "https://"),
        ("issuer", None),
        ("redirect_uri", "http://app.example/auth/callback/company"),
        ("redirect_uri", "https://*.example/auth/callback/company"),
        ("redirect_uri", "https://app.example/auth/callback/*"),
        ("redirect_uri", "https://app.example/auth/callback/company#x"),
        ("redirect_uri", "https://app.example/auth/callback/company?x=1"),
        ("redirect_uri", "https://app.example\\auth"),
        ("redirect_uri", "myapp:/callback"),
        ("redirect_uri", "https://app.example/auth /x"),
        ("post_logout_redirect_uri", "http://app.example/"),
        ("scopes", ("profile",)),
        ("scopes", "openid"),
        ("scopes", ("openid", "a b")),
        ("algorithms", ("HS256",)),
        ("algorithms", ("none",)),
        ("algorithms", ()),
        ("max_age", -1),
        ("max_age", True),
        ("client_auth", PublicClient),
        ("client_auth", "secret"),
        ("client_id", ""),
        ("parameters", {"state": "mine"}),
        ("parameters", {"redirect_uri": "https://evil.example"}),
        ("parameters", {"prompt": 1}),
    ],
    ids=str,
)
def test_a_wrong_setting_of_a_provider_is_refused(setting: str, value: object) -> None:
    """RFC 9700 section 4.1.3 for the addresses: exact, https, nothing in them to play with."""
    OIDCProvider(**GOOD)

    with pytest.raises(ConfigError):
        OIDCProvider(**{**GOOD, setting: value})


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:80", "app.localhost"])
def test_plain_http_is_for_loopback_and_said_aloud(host: str) -> None:
    """RFC 8252 section 7.3 allows it there, where nobody is on the way."""
    address = f"http://{host}/auth/callback/company"
    OIDCProvider(**{**GOOD, "redirect_uri": address, "insecure_allow_http": True})

    with pytest.raises(ConfigError):
        OIDCProvider(**{**GOOD, "redirect_uri": address})
    away = "http://localhost.evil.example/auth/callback/company"
    with pytest.raises(ConfigError):
        OIDCProvider(**{**GOOD, "redirect_uri": away, "insecure_allow_http": True})


@pytest.mark.parametrize(
    "changes",
    [
        {"providers": []},
        {"providers": [OIDCProvider(**GOOD), OIDCProvider(**GOOD)]},
        {"providers": ["company"]},
        {"mount_path": "/login"},
        {"mount_path": "/auth/"},
        {"mount_path": "auth"},
        {"mount_path": ""},
        {"mount_path": "/t/{tenant}/auth"},
        {"mount_path": "/t/{tenant}/auth", "resolver": PathResolver()},
        {"mount_path": "/{tenant}/{tenant}", "resolver": PathResolver()},
        {"sessions": Sessions},
        {"sessions": None},
        {"store": MemoryStore},
        {"store": {}},
        {"fetch": None},
        {"seconds": 0},
        {"after_login": "//evil.example"},
        {"after_logout": "https://evil.example"},
        {"resolver": ClaimResolver()},
        {"resolver": ClaimResolver},
    ],
    ids=[
        *("no-providers", "twice", "a-name", "elsewhere", "slash", "relative", "root"),
        *("tenant-and-no-resolver", "tenants-and-one-provider", "two-tenants"),
        *("class", "no-sessions", "store-class", "dict", "no-fetch", "no-time"),
        *("away", "away-after-logout", "claims", "resolver-class"),
    ],
)
def test_a_wrong_setting_of_a_login_is_refused(changes: dict[str, Any]) -> None:
    """Redirect addresses included: they must be the callback's own, to the letter."""
    settings: dict[str, Any] = {
        "providers": [OIDCProvider(**GOOD)],
        "sessions": Sessions(),
        "store": MemoryStore(),
        "fetch": FETCH,
    }
    OIDCLogin(settings.pop("providers"), **settings)

    wrong = {"providers": [OIDCProvider(**GOOD)], **settings, **changes}
    with pytest.raises(ConfigError):
        OIDCLogin(wrong.pop("providers"), **wrong)


def test_each_tenant_s_redirect_addresses_are_checked() -> None:
    """One tenant's typing error is known at start-up as well."""
    astray = OIDCProvider(**{**GOOD, "redirect_uri": "https://app.example/callback"})

    with pytest.raises(ConfigError, match="redirect_uri"):
        OIDCLogin(
            StaticProviders([OIDCProvider(**GOOD)], tenants={"acme": [astray]}),
            sessions=Sessions(),
            store=MemoryStore(),
            fetch=FETCH,
        )


async def test_a_provider_from_a_registry_with_a_foreign_address_is_refused_at_login() -> None:
    """It was not there at start-up; it must not be used either."""

    class Registry:
        async def of_tenant(self, _tenant_id: str | None) -> list[OIDCProvider]:
            return [OIDCProvider(**{**GOOD, "redirect_uri": "https://app.example/elsewhere"})]

    async with world(agreed=lambda _: Registry()) as w:
        await w.browser().go("/auth/login/company")

        assert w.refusal() == "provider_misplaced"


async def test_check_lists_what_does_not_fit() -> None:
    """A deployment's smoke test says it before the first user does."""
    async with world() as w:
        assert await w.login.check() == []
        w.provider.metadata |= {"end_session_endpoint": None, "userinfo_endpoint": None}
        w.clock.time += 4000

        found = await w.login.check_provider(
            provider_settings(
                w.provider,
                client_auth=PrivateKeyJWT(signing_key()),
                algorithms=("RS256",),
                userinfo=True,
                redirect_uri="https://app.example/elsewhere",
            )
        )

        told = "\n".join(each.problem for each in found)
        for word in ("elsewhere", "private_key_jwt", "RS256", "UserInfo", "logout"):
            assert word in told


async def test_check_names_a_provider_that_cannot_be_used() -> None:
    """One finding, with the reason."""
    async with world() as w:
        w.provider.metadata["issuer"] = "https://evil.example"

        [finding] = await w.login.check()

        assert finding.provider == "small"
        assert "discovery_issuer_mismatch" in finding.problem


@pytest.mark.parametrize(
    "auth",
    [
        ClientSecretBasic(Secret("canary:secret %&")),
        ClientSecretPost(Secret("canary:secret %&")),
        PrivateKeyJWT(signing_key()),
        PublicClient(),
    ],
    ids=lambda auth: auth.method,
)
async def test_a_client_proves_itself_without_showing_how(auth: Any) -> None:
    """Secrets go to the token endpoint and nowhere else."""
    proof = await auth.prove("web", issuer="https://id.example", now=1_700_000_000.0)

    assert "canary" not in repr(proof) + repr(auth) + repr(OIDCProvider(**GOOD))
    assert auth.method in {"client_secret_basic", "client_secret_post", "private_key_jwt", "none"}


@pytest.mark.parametrize("secret", ["text", Secret(""), None], ids=["str", "empty", "none"])
@pytest.mark.parametrize("kind", [ClientSecretBasic, ClientSecretPost])
def test_a_secret_in_a_plain_string_is_refused(kind: Any, secret: Any) -> None:
    """A repr would show it."""
    with pytest.raises(ConfigError):
        kind(secret)


def test_a_key_that_is_none_is_refused() -> None:
    """A public key signs nothing."""
    with pytest.raises(ConfigError):
        PrivateKeyJWT(signing_key().public)  # type: ignore[arg-type]
