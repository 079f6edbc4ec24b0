"""TokenVerifier: what holds, and the one error for what does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.auth.jose import KeySet, TokenVerifier, VerificationKey
from asgi_guard.errors import AuthenticationError, ConfigError
from tests.support.jose_tokens import (
    NOW,
    access_claims,
    made,
    policy,
    reason,
    signing_key,
    verifier,
)
from tests.support.tenancy_world import MovedClock

LOGOUT = "http://schemas.openid.net/event/backchannel-logout"
TYPES = ("access", "id", "refresh", "logout")


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_good_token_gives_its_claims_and_its_principal(algorithm: str) -> None:
    """Each of the three algorithms a new service would choose."""
    key = signing_key(algorithm)
    token = made(access_claims(tenant_id="acme", roles=["staff"], scope="a b", sid="s"), key=key)

    found = await verifier(key).verify(token)

    assert (found.token_type, found.algorithm, found.kid) == ("access", algorithm, key.kid)
    assert found.expires_at == NOW + 600 + 30
    assert found.principal is not None
    assert (found.principal.user_id, found.principal.tenant_id) == ("alice", "acme")
    assert found.principal.scopes == {"a", "b"}
    assert "alice" not in repr(found)
    assert (await verifier(key).verify(token.decode())).claims == found.claims


async def test_ed25519_goes_by_both_of_its_names() -> None:
    """RFC 8037 called it EdDSA, RFC 9864 calls it Ed25519; issuers write either."""
    key = signing_key("EdDSA")

    for name in ("EdDSA", "Ed25519"):
        assert (await verifier(key).verify(made(header={"alg": name}, key=key))).algorithm == name


async def test_claims_cannot_be_changed_by_whoever_reads_them() -> None:
    """All requests with this token share them: what one changes, the next would believe."""
    found = await verifier().verify(made(access_claims(realm={"roles": ["user"]})))

    with pytest.raises(TypeError):
        found.claims["sub"] = "admin"  # type: ignore[index]
    with pytest.raises(TypeError):
        found.claims["realm"]["admin"] = True
    assert found.claims["realm"]["roles"] == ("user",)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"exp": None}, "exp_missing"),
        ({"exp": NOW - 30}, "token_expired"),
        ({"exp": str(NOW)}, "exp_malformed"),
        ({"iat": str(NOW)}, "iat_malformed"),
        ({"exp": NOW + 601}, "lifetime_too_long"),
        ({"iat": NOW - 9999, "exp": NOW + 60}, "lifetime_too_long"),
        ({"iat": NOW + 31}, "token_not_yet_valid"),
        ({"nbf": NOW + 31}, "token_not_yet_valid"),
        ({"iat": None}, "iat_missing"),
        ({"jti": None}, "jti_missing"),
        ({"client_id": None}, "client_id_missing"),
        ({"sub": None}, "sub_missing"),
        ({"jti": ["a"]}, "id_claim_malformed"),
        ({"iss": "https://evil.example"}, "issuer_unknown"),
        ({"aud": ["notes-api", 1]}, "audience_foreign"),
        ({"aud": "notes"}, "audience_foreign"),
        ({"aud": "notes-api-2"}, "audience_foreign"),
    ],
)
async def test_claims_that_the_policy_forbids_are_refused(
    changes: dict[str, Any], expected: str
) -> None:
    """A substring of the audience is not the audience (CVE-2024-53861 was that, for iss)."""
    assert await reason(made(access_claims(**changes))) == expected


async def test_a_lifetime_is_capped_without_iat_as_well() -> None:
    """Or leaving ``iat`` out would make a token immortal."""
    lax = {"required_claims": ("sub",)}

    claims = access_claims(iat=None, exp=NOW + 631)
    assert await reason(made(claims), verifier(settings=lax)) == "lifetime_too_long"
    claims = access_claims(iat=None, exp=NOW + 630)
    assert (await verifier(settings=lax).verify(made(claims))).principal is not None


def claims_for(token_type: str) -> dict[str, Any]:
    """Return claims that would do for any type, within the shortest lifetime."""
    events = {LOGOUT: {}}
    return access_claims(exp=NOW + 60, events=events, fam="f-1", name=token_type)


@pytest.mark.parametrize("made_for", [*TYPES, "dpop"])
@pytest.mark.parametrize("used_as", TYPES)
async def test_a_token_of_one_type_is_none_of_another(made_for: str, used_as: str) -> None:
    """RFC 8725 section 2.8, cross-JWT confusion: all else in these tokens is alike."""
    names = {
        "access": "at+jwt",
        "id": "JWT",
        "refresh": "refresh+jwt",
        "logout": "logout+jwt",
        "dpop": "dpop+jwt",
    }
    judge = verifier(settings={"types": TYPES})
    for prefix in ("", "application/"):
        token = made(claims_for(used_as), {"typ": prefix + names[made_for]})
        if made_for == used_as:
            assert (await judge.verify(token, token_type=used_as)).token_type == used_as
        else:
            assert await reason(token, judge, token_type=used_as) == "type_not_accepted"


@pytest.mark.parametrize("typ", [..., "JWT", "", 7, None, "at+jwt+x", "text/at+jwt"])
async def test_an_access_token_says_that_it_is_one(typ: Any) -> None:
    """RFC 9068 section 4; only a policy that says insecure takes less."""
    assert await reason(made(header={"typ": typ})) == "type_not_accepted"


async def test_an_untyped_access_token_is_taken_where_the_policy_says_so() -> None:
    """Control: what the flag opens."""
    lax = verifier(settings={"insecure_untyped_access": True, "insecure_any_lifetime": True})

    for typ in (..., "JWT", "at+jwt"):
        claims = access_claims(exp=NOW + 10**8)
        assert (await lax.verify(made(claims, {"typ": typ}))).principal is not None
    assert await reason(made(header={"typ": "refresh+jwt"}), lax) == "type_not_accepted"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"events": None}, "events_missing"),
        ({"events": [LOGOUT]}, "events_malformed"),
        ({"events": {LOGOUT: True}}, "events_malformed"),
        ({"events": {"other": {}}}, "events_malformed"),
        ({"nonce": "n"}, "nonce_in_logout_token"),
        ({"sub": None}, "sub_missing"),
        ({"exp": NOW + 121}, "lifetime_too_long"),
    ],
)
async def test_a_logout_token_is_checked_as_one(changes: dict[str, Any], expected: str) -> None:
    """OpenID Connect Back-Channel Logout 1.0 section 2.6."""
    judge = verifier(settings={"types": ("logout",)})
    token = made({**claims_for("logout"), **changes} | _without(changes), {"typ": "logout+jwt"})

    assert await reason(token, judge, token_type="logout") == expected


def _without(changes: dict[str, Any]) -> dict[str, Any]:
    return {name: None for name, value in changes.items() if value is None}


async def test_a_type_that_the_policy_lacks_is_the_developers_mistake() -> None:
    """Not the caller's."""
    with pytest.raises(ConfigError):
        await verifier().verify(made(), token_type="refresh")


async def test_a_token_names_its_key_when_there_is_a_choice() -> None:
    """Trying one key after the other would let a token pick its verifier."""
    one, two, rsa = signing_key(), signing_key(number=1), signing_key("RS256")
    unnamed = made(header={"kid": ...})

    assert (await verifier(one, rsa).verify(unnamed)).kid is None, "one key of this algorithm"
    assert await reason(unnamed, verifier(one, two)) == "key_unknown"
    assert await reason(made(header={"kid": two.kid}), verifier(one, two)) == "signature_invalid"
    assert await reason(made(header={"kid": "x"}), verifier(one, two)) == "key_unknown"
    token = made(header={"kid": rsa.kid})
    assert await reason(token, verifier(one, rsa)) == "algorithm_not_accepted"


@pytest.mark.parametrize("kid", ["", 7, None, ["a"], "a" * 257, "a\n", "../../dev/null\x00"])
async def test_a_kid_is_a_short_printable_string(kid: Any) -> None:
    """It goes to logs and look-ups; kid injection is a class of its own."""
    assert await reason(made(header={"kid": kid})) == "kid_malformed"


@pytest.mark.parametrize("token", [None, 7, ["a"], "\u0430.b.c", "\ud800", "", b""])
async def test_what_is_no_text_is_refused_alike(token: Any) -> None:
    """A framework may hand over anything."""
    assert await reason(token) == "token_malformed"


async def test_a_token_beyond_the_policys_size_is_refused_unread() -> None:
    """Parsing is what costs."""
    token = made()
    exact = verifier(settings={"longest_token": len(token)})
    assert (await exact.verify(token)).principal is not None

    short = verifier(settings={"longest_token": len(token) - 1})
    assert await reason(token, short) == "token_too_long"


@pytest.mark.parametrize("depth", [32, 33, 500, 5000])
async def test_nesting_has_an_end(depth: int) -> None:
    """The claims are one level themselves."""
    inner = b"[" * (depth - 1) + b"]" * (depth - 1)
    claims = json.dumps(access_claims()).encode()[:-1] + b',"deep":' + inner + b"}"

    if depth <= 32:
        assert (await verifier().verify(made(claims))).principal is not None
    else:
        assert await reason(made(claims)) == "token_not_json"


def test_mixed_and_ambiguous_key_sets_are_refused_when_built() -> None:
    """The class of CVE-2022-29217: a public key in reach of a symmetric algorithm."""
    public = signing_key().public
    secret = VerificationKey(bytes(range(32)), algorithm="HS256", kid="s")

    for keys in ([], [public, secret], [public, public]):
        with pytest.raises(ConfigError):
            KeySet(keys)
    nameless = VerificationKey(public.public_key, algorithm="ES256")
    with pytest.raises(ConfigError):
        KeySet([public, nameless])


@pytest.mark.parametrize(
    "broken", [{"policy": object()}, {"source": object()}, {"source": KeySet}, {"cache_size": -1}]
)
def test_wrong_arguments_are_refused_when_built(broken: dict[str, Any]) -> None:
    """At start-up, not at the first login."""
    with pytest.raises(ConfigError):
        verifier(**broken)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x5c", "zip", "cty"])


async def outcome(judge: TokenVerifier, token: bytes) -> str:
    """Return what became of *token*; anything but two outcomes escapes."""
    try:
        await judge.verify(token)
    except AuthenticationError:
        return "refused"
    return "accepted"


@given(st.dictionaries(NAMES, JSON, max_size=4), st.dictionaries(st.text(max_size=8), JSON))
async def test_any_header_and_claims_are_accepted_or_refused(
    header: dict[str, Any], claims: dict[str, Any]
) -> None:
    """A well signed token from an issuer gone mad."""
    judge = verifier(clock=MovedClock())

    assert await outcome(judge, made({**access_claims(), **claims}, header)) in {
        "accepted",
        "refused",
    }


@given(st.binary(max_size=300), st.binary(max_size=300))
async def test_any_bytes_as_header_and_claims_are_accepted_or_refused(
    header: bytes, claims: bytes
) -> None:
    """Below JSON, too."""
    assert await outcome(verifier(), made(claims)) == "refused"
    assert await outcome(verifier(), made(None, header)) == "refused"


def test_the_policy_is_in_plain_sight() -> None:
    """Services ask each other for its hash."""
    assert verifier(policy=policy()).policy.sha256 == policy().sha256
