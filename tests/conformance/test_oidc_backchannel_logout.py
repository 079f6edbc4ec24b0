"""OpenID Connect Back-Channel Logout 1.0, by section."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asgi_guard.auth.jose import TokenIssuer
from asgi_guard.auth.jose.base64url import b64url_decode
from asgi_guard.errors import ConfigError
from tests.support.jose_tokens import (
    AUDIENCE,
    ISSUER,
    NOW,
    Signer,
    made,
    policy,
    reason,
    signing_key,
    verifier,
)
from tests.support.tenancy_world import MovedClock

EVENT = "http://schemas.openid.net/event/backchannel-logout"
POLICY = policy(types=("access", "id", "logout"), algorithms=("ES256",))
JUDGE = verifier(policy=POLICY)


def issuer() -> TokenIssuer:
    return TokenIssuer(POLICY, keys=Signer(signing_key()), clock=MovedClock())


def part(token: str, index: int) -> dict[str, Any]:
    found = json.loads(b64url_decode(token.split(".")[index].encode()) or b"")
    assert isinstance(found, dict)
    return found


def logout_claims(**changes: Any) -> dict[str, Any]:
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": NOW,
        "exp": NOW + 120,
        "jti": "l-1",
        "sub": "alice",
        "sid": "s-1",
        "events": {EVENT: {}},
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    "about",
    [{"subject": "alice"}, {"session_id": "s-1"}, {"subject": "alice", "session_id": "s-1"}],
    ids=["subject", "session", "both"],
)
async def test_section_2_4_a_logout_token_says_who_or_which_session_and_that_it_is_one(
    about: dict[str, Any],
) -> None:
    """iss, aud, iat, exp, jti, events; sub or sid or both; typ logout+jwt; short-lived."""
    issued = await issuer().issue_logout(**about)
    token = issued.token.reveal()

    assert part(token, 0)["typ"] == "logout+jwt"
    claims = part(token, 1)
    assert {"iss", "aud", "iat", "exp", "jti", "events"} <= set(claims)
    assert claims["events"] == {EVENT: {}}
    assert claims.get("sub") == about.get("subject")
    assert claims.get("sid") == about.get("session_id")
    assert "nonce" not in claims
    assert claims["exp"] - claims["iat"] <= 120, "at most two minutes in the future (2.4)"
    verified = await JUDGE.verify(token, token_type="logout")
    assert verified.principal is None, "it ends sessions and opens none"


async def test_section_2_4_neither_subject_nor_session_is_refused_when_made() -> None:
    """It would end nothing."""
    with pytest.raises(ConfigError, match="sub_missing"):
        await issuer().issue_logout()


async def test_section_2_4_a_nonce_is_prohibited_when_made() -> None:
    """So that a logout token can never pass for an ID token."""
    with pytest.raises(ConfigError, match="nonce"):
        await issuer().issue_logout(subject="alice", claims={"nonce": "n"})


WRONG = {
    "no events": ({"events": None}, "events_missing"),
    "events is text": ({"events": EVENT}, "events_malformed"),
    "another event": ({"events": {"https://other": {}}}, "events_malformed"),
    "event is no object": ({"events": {EVENT: True}}, "events_malformed"),
    "event is a list": ({"events": {EVENT: []}}, "events_malformed"),
    "nonce": ({"nonce": "n"}, "nonce_in_logout_token"),
    "neither sub nor sid": ({"sub": None, "sid": None}, "sub_missing"),
    "no jti": ({"jti": None}, "jti_missing"),
    "no iat": ({"iat": None}, "iat_missing"),
    "no exp": ({"exp": None}, "exp_missing"),
    "lives an hour": ({"exp": NOW + 3600}, "lifetime_too_long"),
    "other issuer": ({"iss": "https://evil.example"}, "issuer_unknown"),
    "other audience": ({"aud": "other"}, "audience_foreign"),
    "sid is a list": ({"sub": None, "sid": ["s"]}, "id_claim_malformed"),
}


@pytest.mark.parametrize(("change", "why"), WRONG.values(), ids=WRONG.keys())
async def test_section_2_6_what_the_validation_steps_refuse(
    change: dict[str, Any], why: str
) -> None:
    """Whoever can make a client accept one logs its users out at will."""
    token = made(logout_claims(**change), {"typ": "logout+jwt"})

    assert await reason(token, JUDGE, token_type="logout") == why


@pytest.mark.parametrize("typ", ["JWT", "at+jwt", ..., "refresh+jwt"], ids=str)
async def test_section_2_4_another_typ_is_no_logout_token(typ: Any) -> None:
    """Explicit typing (RFC 8725 section 3.11) is what keeps the kinds apart."""
    token = made(logout_claims(), {"typ": typ})

    assert await reason(token, JUDGE, token_type="logout") == "type_not_accepted"


async def test_a_logout_token_opens_nothing_and_is_no_id_token() -> None:
    """The cross-JWT confusion that the section on events and nonce is about."""
    token = (await issuer().issue_logout(subject="alice")).token.reveal()

    for kind in ("access", "id"):
        assert await reason(token, JUDGE, token_type=kind) == "type_not_accepted"
