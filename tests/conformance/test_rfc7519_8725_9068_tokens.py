"""RFC 7519 (tokens), RFC 8725 (best current practice) and RFC 9068 (access tokens), by clause."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_guard.auth.jose import KeySet, TokenIssuer, VerificationKey
from asgi_guard.errors import ConfigError
from tests.support.jose_tokens import (
    AUDIENCE,
    NOW,
    Signer,
    access_claims,
    made,
    policy,
    reason,
    signing_key,
    verifier,
)
from tests.support.tenancy_world import MovedClock


async def test_rfc_7519_section_4_1_3_the_audience_is_one_name_or_a_list_of_names() -> None:
    """Compared letter by letter, case included."""
    for good in (AUDIENCE, [AUDIENCE], ["other", AUDIENCE]):
        assert (await verifier().verify(made(access_claims(aud=good)))).principal is not None
    for bad in (AUDIENCE.upper(), [], {}, [[AUDIENCE]], True):
        assert await reason(made(access_claims(aud=bad))) == "audience_foreign"


@pytest.mark.parametrize(("moved", "holds"), [(629, True), (630, False)])
async def test_rfc_7519_section_4_1_4_on_or_after_exp_it_is_over(
    moved: float, *, holds: bool
) -> None:
    """With thirty seconds of skew, "usually no more than a few minutes"."""
    clock = MovedClock(NOW + moved)

    if holds:
        assert (await verifier(clock=clock).verify(made())).principal is not None
    else:
        assert await reason(made(), verifier(clock=clock)) == "token_expired"


async def test_rfc_7519_section_2_a_numeric_date_may_have_a_fraction() -> None:
    """And is a number: neither text nor a boolean."""
    assert (await verifier().verify(made(access_claims(exp=NOW + 0.5, iat=NOW - 0.5)))).claims
    for bad in ("1", True, [1], -1, 2**53):
        assert await reason(made(access_claims(exp=bad))) == "exp_malformed"


async def test_rfc_7519_section_5_2_a_nested_token_is_not_unwrapped() -> None:
    """``cty`` JWT: the payload is no JSON object, and so no claims."""
    assert await reason(made(made(), {"cty": "JWT"})) == "token_not_json"


async def test_rfc_8725_section_3_1_one_algorithm_per_key() -> None:
    """The key's, whatever else the policy accepts."""
    rsa = signing_key("RS256")
    judge = verifier(rsa, settings={"algorithms": ("RS256", "PS256", "RS512")})

    assert await reason(made(header={"alg": "PS256"}, key=rsa), judge) == "algorithm_not_accepted"
    assert await reason(made(header={"alg": "none"}, key=rsa), judge) == "algorithm_not_accepted"


async def test_rfc_8725_section_3_5_weak_secrets_are_no_keys() -> None:
    """And symmetric keys do not share a set with public ones."""
    with pytest.raises(ConfigError):
        VerificationKey("password", algorithm="HS256")
    with pytest.raises(ConfigError):
        KeySet([VerificationKey(bytes(32), algorithm="HS256", kid="a"), signing_key().public])


async def test_rfc_8725_section_3_7_utf_8_only() -> None:
    """No other encoding of JSON is guessed."""
    for encoding in ("utf-16", "utf-32", "utf-8-sig"):
        claims = '{"sub":"alice"}'.encode(encoding)
        assert await reason(made(claims)) == "token_not_json"


async def test_rfc_8725_section_3_8_and_3_9_issuer_and_audience_are_required() -> None:
    """A token for somebody else proves nothing here."""
    assert await reason(made(access_claims(iss=None))) == "issuer_unknown"
    assert await reason(made(access_claims(aud=None))) == "audience_foreign"


async def test_rfc_8725_section_3_11_types_are_explicit() -> None:
    """See the table of types in test_verifier.py."""
    assert await reason(made(header={"typ": "dpop+jwt"})) == "type_not_accepted"


@pytest.mark.parametrize("name", ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"])
async def test_rfc_9068_section_2_2_each_required_claim_is_required(name: str) -> None:
    """All seven."""
    refusal = await reason(made(access_claims(**{name: None})))

    assert refusal in {f"{name}_missing", "issuer_unknown", "audience_foreign"}


async def test_rfc_9068_section_2_1_an_issued_token_is_typed_and_signed() -> None:
    """``at+jwt``, and not ``none``."""
    keys: Any = Signer(signing_key("RS256"))
    made_token = await TokenIssuer(policy(), keys=keys).issue_access("alice", client_id="web")

    assert made_token.token_type == "access"
    assert made_token.token.reveal().count(".") == 2
