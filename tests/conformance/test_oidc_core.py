"""OpenID Connect Core 1.0 and Discovery 1.0, by section, for the relying party."""

from __future__ import annotations

import base64
import json
from hashlib import sha256, sha512
from typing import Any

import pytest

from asgi_guard.auth.oidc import ClientSecretBasic, PrivateKeyJWT
from asgi_guard.auth.oidc.metadata import discovery_url
from asgi_guard.secret import Secret
from tests.support.jose_tokens import signing_key
from tests.support.oidc_provider import ACCESS_TOKEN, CLIENT
from tests.support.oidc_world import parameters, world
from tests.support.tenancy_tokens import b64

AT_HASH = b64(sha256(ACCESS_TOKEN.encode()).digest()[:16]).decode()


async def outcome(settings: dict[str, Any] | None = None, **claims: Any) -> str:
    """Log in with these claims changed; return ``in`` or the reason."""
    async with world(settings=settings) as w:
        w.provider.claims = claims
        browser = w.browser()
        answer = await w.log_in(browser)
        assert browser.is_logged_in is (answer.status == 303)
        return "in" if answer.status == 303 else w.refusal()


async def test_section_3_1_2_1_the_authentication_request() -> None:
    """``scope``, ``response_type``, ``client_id``, ``redirect_uri``, ``state``, ``nonce``."""
    settings = {"scopes": ("openid", "email"), "max_age": 60, "acr_values": ("phr", "phrh")}
    async with world(settings=settings) as w:
        asked = parameters(await w.begin(w.browser()))

        assert asked["scope"] == "openid email"
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        assert asked["redirect_uri"] == "https://app.example/auth/callback/small"
        assert asked["max_age"] == "60"
        assert asked["acr_values"] == "phr phrh"
        assert {"state", "nonce"} <= set(asked)


async def test_section_3_1_2_1_an_endpoint_with_a_query_keeps_it() -> None:
    """RFC 6749 section 3.1: what is there is retained."""
    async with world() as w:
        w.provider.metadata["authorization_endpoint"] = f"{w.provider.issuer}/a?realm=x"

        assert parameters(await w.begin(w.browser()))["realm"] == "x"


async def test_section_3_1_2_7_unknown_parameters_of_the_answer_are_ignored() -> None:
    """Providers add ``session_state``, ``scope`` and more."""
    async with world() as w:
        browser = w.browser()
        back = w.provider.authorize(await w.begin(browser))

        answer = await browser.go("/auth/callback/small", session_state="x", scope="a", **back)

        assert answer.status == 303


async def test_section_3_1_3_1_the_token_request() -> None:
    """The code, the same redirect address, and the client's proof."""
    async with world() as w:
        await w.log_in(w.browser())

        [form] = w.provider.forms
        assert form["grant_type"] == "authorization_code"
        assert form["redirect_uri"] == "https://app.example/auth/callback/small"
        assert "client_secret" not in form


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        pytest.param({"iss": "https://evil.example"}, "issuer_unknown", id="step-2-iss"),
        pytest.param({"iss": "https://id.example/"}, "issuer_unknown", id="step-2-iss-slash"),
        pytest.param({"aud": "other"}, "audience_foreign", id="step-3-aud"),
        pytest.param({"aud": []}, "audience_foreign", id="step-3-no-aud"),
        pytest.param({"aud": [CLIENT, "x"], "azp": CLIENT}, "audience_untrusted", id="step-3-more"),
        pytest.param({"aud": [CLIENT]}, "in", id="step-3-list-of-one"),
        pytest.param({"aud": [CLIENT, CLIENT]}, "azp_missing", id="step-4-azp"),
        pytest.param({"azp": "other"}, "azp_foreign", id="step-5-azp"),
        pytest.param({"azp": CLIENT}, "in", id="step-5-own-azp"),
        pytest.param({"exp": 1_699_999_000}, "expired", id="step-9-exp"),
        pytest.param({"exp": 1_699_999_980}, "in", id="step-9-exp-within-skew"),
        pytest.param({"iat": None}, "iat_missing", id="step-10-iat"),
        pytest.param({"iat": 1_700_000_900}, "not_yet_valid", id="step-10-iat-ahead"),
        pytest.param({"nonce": "other"}, "nonce_mismatch", id="step-11-nonce"),
        pytest.param({"nonce": None}, "nonce_missing", id="step-11-no-nonce"),
    ],
)
async def test_section_3_1_3_7_id_token_validation(claims: dict[str, Any], expected: str) -> None:
    """The steps in their order; 6 to 8 are about signatures and stand below."""
    assert await outcome(None, **claims) == (
        expected if expected == "in" else f"id_token_{expected}"
    )


async def test_section_3_1_3_7_step_3_an_audience_that_is_trusted_may_be_beside() -> None:
    """Said by the app, audience by audience."""
    settings = {"trusted_audiences": frozenset({"partner"})}

    assert await outcome(settings, aud=[CLIENT, "partner"], azp=CLIENT) == "in"
    assert await outcome(settings, aud=[CLIENT, "partner"]) == "id_token_azp_missing"


async def test_section_3_1_3_7_step_7_the_algorithm_is_the_one_that_was_agreed() -> None:
    """RS256 unless said otherwise; what the token says is compared."""
    assert await outcome({"algorithms": ("RS256",)}) == "id_token_algorithm_not_accepted"
    assert await outcome({"algorithms": ("RS256", "ES256")}) == "in"


async def test_section_3_1_3_7_step_7_each_key_has_its_own_algorithm() -> None:
    """Another one that was agreed as well is still not this key's (RFC 8725 section 3.1)."""
    async with world(settings={"algorithms": ("RS256", "ES256")}) as w:
        w.provider.header["alg"] = "RS256"  # the key is one of ES256

        assert (await w.log_in(w.browser())).status == 400
        assert w.refusal() == "id_token_algorithm_not_accepted"


@pytest.mark.parametrize(("acr", "expected"), [("phr", "in"), ("0", "id_token_acr_not_accepted")])
async def test_section_3_1_3_7_step_12_the_context_that_was_asked_for(
    acr: str, expected: str
) -> None:
    """A browser can change the request, so the answer is looked at."""
    assert await outcome({"acr_values": ("phr",)}, acr=acr) == expected


@pytest.mark.parametrize(
    ("ago", "expected"), [(60, "in"), (90, "in"), (91, "id_token_auth_time_too_old")]
)
async def test_section_3_1_3_7_step_13_the_user_was_there_lately(ago: int, expected: str) -> None:
    """``max_age`` with the allowed skew of 30 seconds."""
    assert await outcome({"max_age": 60}, auth_time=1_700_000_000 - ago) == expected


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256", "PS256"])
async def test_section_3_1_3_8_the_access_token_is_the_one_that_was_meant(algorithm: str) -> None:
    """``at_hash`` with the hash of the signature's algorithm; Ed25519 has SHA-512."""
    digest = b64(sha512(ACCESS_TOKEN.encode()).digest()[:32]).decode()
    right = digest if algorithm == "EdDSA" else AT_HASH
    async with world(settings={"algorithms": (algorithm,)}) as w:
        w.provider.key = signing_key(algorithm)
        w.provider.published = [w.provider.key.jwk]
        w.provider.claims["at_hash"] = right
        assert (await w.log_in(w.browser())).status == 303

        w.provider.claims["at_hash"] = right[:-1] + ("A" if right[-1] != "A" else "B")
        assert (await w.log_in(w.browser())).status == 400
        assert w.refusal() == "id_token_at_hash_mismatch"


async def test_section_2_an_id_token_without_at_hash_is_taken() -> None:
    """It is optional in the code flow (section 3.1.3.6)."""
    assert await outcome(None, at_hash=None) == "in"


@pytest.mark.parametrize("subject", ["", 7, "a" * 256, "\u00e9"])
async def test_section_2_the_subject_is_ascii_text_of_at_most_255(subject: Any) -> None:
    """Two spellings of one subject would be two users, or one."""
    assert (await outcome(None, sub=subject)).startswith("id_token_")


async def test_section_5_3_2_userinfo_is_about_the_same_subject() -> None:
    """Else one user's token brings another's mail address."""
    async with world(settings={"userinfo": True}) as w:
        await w.log_in(w.browser())
        [(login, _)] = w.tokens
        assert login.userinfo["name"] == "Alice"

        assert (await w.log_in(w.browser(), subject="bob")).status == 400
        assert w.refusal() == "userinfo_sub_mismatch"


async def test_section_5_7_the_stable_name_is_issuer_and_subject() -> None:
    """Both are handed out, and neither is made of a mail address."""
    async with world() as w:
        await w.log_in(w.browser())

        [(login, _)] = w.tokens
        assert (login.issuer, login.subject) == (w.provider.issuer, "alice")


async def test_section_9_client_secret_basic_encodes_both_halves() -> None:
    """RFC 6749 section 2.3.1: a colon in a secret must not move the border."""
    proof = await ClientSecretBasic(Secret("a:b %é")).prove("web:1", issuer="i", now=0)

    value = base64.b64decode(proof.headers["authorization"].removeprefix("Basic "))
    assert value == b"web%3A1:a%3Ab+%25%C3%A9"


async def test_section_9_private_key_jwt_is_short_lived_and_for_one_issuer() -> None:
    """``iss`` and ``sub`` are the client; each assertion has an id of its own."""
    auth = PrivateKeyJWT(signing_key())
    first, second = [
        (await auth.prove("web", issuer="https://id.example", now=100.0)).fields["client_assertion"]
        for _ in range(2)
    ]

    claims = json.loads(base64.urlsafe_b64decode(first.split(".")[1] + "=="))
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("web", "web", "https://id.example")
    assert (claims["iat"], claims["exp"]) == (100, 160)
    assert first != second


@pytest.mark.parametrize(
    ("issuer", "expected"),
    [
        ("https://id.example", "https://id.example/.well-known/openid-configuration"),
        ("https://id.example/", "https://id.example/.well-known/openid-configuration"),
        ("https://id.example/t1", "https://id.example/t1/.well-known/openid-configuration"),
    ],
)
def test_discovery_section_4_where_the_metadata_is(issuer: str, expected: str) -> None:
    """A terminating slash is removed first."""
    assert discovery_url(issuer) == expected


@pytest.mark.parametrize("change", ["/", "x"])
async def test_discovery_section_4_3_the_issuer_is_identical(change: str) -> None:
    """Letter by letter, or one host's metadata would speak for another's issuer."""
    async with world() as w:
        w.provider.metadata["issuer"] = w.provider.issuer + change

        assert (await w.browser().go("/auth/login/small")).status == 400
        assert w.refusal() == "discovery_issuer_mismatch"
