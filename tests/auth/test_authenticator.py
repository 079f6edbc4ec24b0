"""BearerJWTAuthenticator: what is accepted, and the 401 for everything else."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_guard.errors import AuthenticationError, ConfigError
from asgi_guard.protocols import Authenticator, Principal
from tests.support.tenancy_tokens import (
    AUDIENCE,
    authenticator,
    b64,
    claims,
    signed,
    signed_as_is,
)
from tests.support.tenancy_verify import reason, verify
from tests.support.tenancy_world import ACME, MovedClock

NOW = MovedClock().now()


async def test_a_good_token_gives_a_principal_with_all_it_claims() -> None:
    """And with the forgiven skew in its end, or tenancy would refuse what was just accepted."""
    token = signed(claims(iat=NOW - 5, roles=["staff"], scope="notes:read notes:write", sid="s-1"))

    principal = await verify(token)

    assert principal == Principal(
        user_id="alice",
        tenant_id=ACME,
        roles=frozenset({"staff"}),
        scopes=frozenset({"notes:read", "notes:write"}),
        auth_method="bearer",
        session_id="s-1",
        issued_at=NOW - 5,
        expires_at=NOW + 600 + 30,
        claims=principal.claims,
    )
    assert principal.claims["iss"] == "https://issuer.example"
    assert "issuer.example" not in repr(principal)


async def test_a_token_need_not_name_a_tenant() -> None:
    """The tenant may come from the host or path, and membership decides."""
    assert (await verify(signed(claims(tenant_id=None)))).tenant_id is None
    assert (await verify(signed(claims(org=42)), tenant_claim="org")).tenant_id == "42"
    assert (await verify(signed(claims(groups=["a"])), roles_claim="groups")).roles == {"a"}


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"Basic YTpi")],
        [(b"authorization", b"DPoP abc")],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearerabc")],
        [(b"cookie", b"token=abc")],
    ],
)
async def test_a_connection_without_a_bearer_token_is_left_to_others(headers: Any) -> None:
    """None, not a refusal: an API key or a session may follow."""
    scope = {"type": "http", "headers": headers}

    assert await authenticator().authenticate(scope) is None


@pytest.mark.parametrize("scheme", [b"Bearer ", b"bearer ", b"BEARER ", b"Bearer   "])
async def test_the_schemes_case_does_not_matter(scheme: bytes) -> None:
    """RFC 9110 section 11.1."""
    headers = [(b"authorization", scheme + signed())]

    assert await authenticator().authenticate({"type": "http", "headers": headers}) is not None


async def test_two_authorization_headers_are_refused() -> None:
    """A gateway may have checked the other one."""
    headers = [(b"authorization", b"Bearer " + signed())] * 2

    with pytest.raises(AuthenticationError) as caught:
        await authenticator().authenticate({"type": "http", "headers": headers})
    assert caught.value.reason == "duplicate_authorization"
    assert caught.value.status == 401


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"exp": None}, "exp_missing"),
        ({"exp": NOW - 30}, "token_expired"),
        ({"exp": str(int(NOW) + 600)}, "exp_malformed"),
        ({"exp": True}, "exp_malformed"),
        ({"exp": -1}, "exp_malformed"),
        ({"exp": 10**400}, "exp_malformed"),
        ({"exp": [NOW]}, "exp_malformed"),
        ({"nbf": NOW + 31}, "token_not_yet_valid"),
        ({"nbf": "now"}, "nbf_malformed"),
        ({"iat": NOW + 31}, "token_not_yet_valid"),
        ({"iat": {}}, "iat_malformed"),
        ({"iss": None}, "issuer_unknown"),
        ({"iss": "https://issuer.example/"}, "issuer_unknown"),
        ({"iss": ["https://issuer.example"]}, "issuer_unknown"),
        ({"aud": None}, "audience_foreign"),
        ({"aud": "other-api"}, "audience_foreign"),
        ({"aud": ["other-api"]}, "audience_foreign"),
        ({"aud": {AUDIENCE: 1}}, "audience_foreign"),
        ({"sub": None}, "sub_missing"),
        ({"sub": ""}, "id_claim_malformed"),
        ({"sub": "a" * 256}, "id_claim_malformed"),
        ({"sub": "alice\x00"}, "id_claim_malformed"),
        ({"sub": "alice\nadmin"}, "id_claim_malformed"),
        ({"sub": "\ud800"}, "token_not_json"),  # RFC 7493 section 2.1
        ({"sub": ["alice"]}, "id_claim_malformed"),
        ({"sub": True}, "id_claim_malformed"),
        ({"sub": -1}, "id_claim_malformed"),
        ({"tenant_id": ""}, "id_claim_malformed"),
        ({"tenant_id": False}, "id_claim_malformed"),
        ({"tenant_id": [ACME]}, "id_claim_malformed"),
        ({"sid": 1.5}, "id_claim_malformed"),
        ({"roles": "admin"}, "roles_malformed"),
        ({"roles": ["admin", 1]}, "roles_malformed"),
        ({"roles": {"admin": True}}, "roles_malformed"),
        ({"roles": [""]}, "roles_malformed"),
        ({"scope": ["notes"]}, "scope_malformed"),
        ({"scope": "a  b"}, "scope_malformed"),
        ({"scope": "a\tb\x07"}, "scope_malformed"),
        ({"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}, "token_bound_to_a_key"),
    ],
)  # fmt: skip
async def test_claims_that_are_not_for_us_now_or_malformed_are_refused(
    changes: dict[str, Any], expected: str
) -> None:
    """The signature holds; that alone proves nothing about here and now."""
    token = signed_as_is(b64(claims(**changes)))

    assert await reason(token) == expected


@pytest.mark.parametrize(
    ("changes", "settings"),
    [
        ({"exp": NOW - 29}, {}),
        ({"exp": NOW + 0.5}, {"leeway": 0}),
        ({"nbf": NOW + 30, "iat": NOW + 30}, {}),
        ({"aud": ["other-api", AUDIENCE]}, {}),
        ({"exp": int(NOW) + 60}, {}),
        ({"scope": ""}, {}),
    ],
)
async def test_what_is_just_right_is_accepted(
    changes: dict[str, Any], settings: dict[str, Any]
) -> None:
    """The other side of each edge."""
    assert (await verify(signed(claims(**changes)), **settings)).user_id == "alice"


async def test_it_expires_to_the_moment() -> None:
    """By the clock it was given."""
    clock, token = MovedClock(), signed()
    await verify(token, clock=clock)

    clock.time += 630

    assert await reason(token, clock=clock) == "token_expired"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("issuer", ""),
        ("audience", ""),
        ("audience", None),
        ("tenant_claim", ""),
        ("roles_claim", ""),
        ("leeway", -1),
        ("leeway", 3600),
        ("leeway", float("nan")),
    ],
)
def test_a_rule_that_would_accept_anyones_token_is_refused_when_built(
    setting: str, value: Any
) -> None:
    """An empty audience is everybody's."""
    with pytest.raises(ConfigError) as caught:
        authenticator(**{setting: value})
    assert caught.value.setting == setting


def test_it_is_an_authenticator() -> None:
    """The middleware asks for no more than the protocol."""
    assert isinstance(authenticator(), Authenticator)
