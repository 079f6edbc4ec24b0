"""RFC 9449 section 4: what a proof must be, each check by its number, and its negative control."""

from __future__ import annotations

import hmac
import json
from hashlib import sha256
from typing import Any

import pytest

from asgi_guard.auth.dpop import CHECKS, DPoPPolicy, checks
from asgi_guard.errors import DPoPProofError
from tests.support.dpop_world import (
    ALL_ALGORITHMS,
    NOW,
    URL,
    bound_token,
    client_key,
    good_claims,
    nonces,
    proof,
    reason,
    request,
    validator,
)
from tests.support.tenancy_tokens import b64

JWK = client_key().jwk
PRIVATE = {**{name: JWK[name] for name in ("kty", "crv", "x", "y")}, "d": "A" * 43}
TOKEN = bound_token()


def unsigned(header: dict[str, Any], signature: bytes = b"") -> bytes:
    return b64(header) + b"." + b64(good_claims()) + b"." + signature


def signed_by_a_secret(algorithm: str, secret: bytes) -> bytes:
    """Use a public key as an HMAC secret, as a naive verifier would."""
    text = b64({"typ": "dpop+jwt", "alg": algorithm, "jwk": JWK}) + b"." + b64(good_claims())
    return text + b"." + b64(hmac.digest(secret, text, sha256))


@pytest.mark.parametrize("algorithm", ALL_ALGORITHMS.algorithms)
def test_section_4_2_a_good_proof_of_each_algorithm_is_accepted(algorithm: str) -> None:
    """A control for all tests below: what they change is what is refused."""
    key = client_key(algorithm=algorithm)

    found = validator(policy=ALL_ALGORITHMS).inspect(request(proof(key=key)))

    assert (found.thumbprint, found.algorithm) == (key.kid, algorithm)
    assert (found.jti, found.issued_at) == ("proof-1-of-these-tests", NOW)


def test_section_4_3_1_more_than_one_field_is_refused() -> None:
    """Which of the two would the next layer believe?"""
    with pytest.raises(DPoPProofError, match="invalid_dpop_proof") as caught:
        validator().inspect(request(proof(), proof()))
    assert caught.value.reason == "proof_duplicated"
    assert reason(proof() + b"," + proof()) == "proof_malformed"


def test_section_4_3_1_no_field_is_refused() -> None:
    """A token without proof is a bearer token."""
    with pytest.raises(DPoPProofError) as caught:
        validator().inspect(request())
    assert caught.value.reason == "proof_missing"


@pytest.mark.parametrize(
    "text",
    [b"", b"x", b"a.b", b"a.b.c.d", b"a.b.c.d.e", b"....", b"e30.e30.e30 ", b"e30.e30.e=", "é.é.é"],
)
def test_section_4_3_2_what_is_no_jwt_is_refused(text: bytes | str) -> None:
    """Nothing is repaired."""
    assert reason(text) == "proof_malformed"


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        (b"[]", b"{}"),
        (b"{", b"{}"),
        (b'{"typ":"dpop+jwt","typ":"dpop+jwt"}', b"{}"),
        (None, b"null"),
        (None, b"\xff"),
        (None, json.dumps(good_claims()).encode()[:-1] + b',"htm":"POST"}'),
        (None, json.dumps(good_claims()).encode()[:-1] + b',"ath":{"a":1,"a":2}}'),
        (None, b'{"iat":1e999}'),
        (None, b'{"iat":NaN}'),
    ],
    ids=str,
)
def test_section_4_3_2_json_with_two_meanings_is_refused(
    header: bytes | None, claims: bytes
) -> None:
    """Two parsers that disagree about one proof are two requests for one proof."""
    assert reason(proof(claims, header)) == "proof_not_json"


def test_section_4_3_2_a_proof_that_is_too_long_is_not_looked_at() -> None:
    """Eight thousand bytes hold every honest proof."""
    assert reason(proof(pad="x" * 8000)) == "proof_too_long"


@pytest.mark.parametrize("member", ["crit", "b64"])
def test_section_4_3_2_extensions_that_change_the_meaning_are_refused(member: str) -> None:
    """RFC 7515 section 4.1.11: what is not understood must be refused."""
    assert reason(proof(header={member: ["exp"]})) == "crit_not_understood"


@pytest.mark.parametrize("name", ["jti", "htm", "htu", "iat"])
@pytest.mark.parametrize("value", [..., None, "", [], {}, True, -1, 2**60], ids=repr)
def test_section_4_3_3_a_required_claim_is_there_and_of_its_type(name: str, value: object) -> None:
    """Every one of them carries a check further on."""
    assert reason(proof(good_claims(**{name: value}))) == f"proof_{name}_malformed"


def test_section_4_3_3_a_jti_has_its_bounds() -> None:
    """It is a name, not a place to keep things."""
    assert reason(proof(jti="j" * 257)) == "proof_jti_malformed"
    assert reason(proof(jti="a\u0000b")) == "proof_jti_malformed"
    assert reason(proof(good_claims(jti="\ud800"))) == "proof_not_json"  # RFC 7493, 2.1
    assert validator().inspect(request(proof(jti="j" * 256))).jti == "j" * 256


@pytest.mark.parametrize(
    "typ", [..., None, "", "jwt", "at+jwt", "DPoP+JWT", "dpop+jwt ", "application/dpop+jwt", 1]
)
def test_section_4_3_4_typ_is_dpop_jwt_to_the_letter(typ: object) -> None:
    """An access token, an ID token or a client assertion is no proof (RFC 8725 section 3.11)."""
    assert reason(proof(header={"typ": typ})) == "proof_type_not_accepted"


@pytest.mark.parametrize(
    "alg",
    ["none", "None", "nOnE", "HS256", "HS512", "RS256", "ES256K", "", ..., None, 1, ["ES256"]],
)
def test_section_4_3_5_alg_is_asymmetric_and_on_the_list(alg: object) -> None:
    """RS256 is asymmetric, and this server did not list it."""
    assert reason(proof(header={"alg": alg})) == "proof_algorithm_not_accepted"


@pytest.mark.parametrize("signature", [b"", b"AA"])
def test_section_4_3_5_a_proof_without_signature_is_refused(signature: bytes) -> None:
    """CVE-2015-9235 and its many kin."""
    header = {"typ": "dpop+jwt", "alg": "none", "jwk": JWK}

    assert reason(unsigned(header, signature)) == "proof_algorithm_not_accepted"
    assert reason(unsigned({**header, "alg": "ES256"}, signature)) == "proof_signature_invalid"


def test_section_4_3_6_the_signature_verifies_with_the_key_in_the_proof() -> None:
    """A proof under another client's name, and one that was changed on the way."""
    other = client_key(1)
    head, body, tail = proof().split(b".")
    changed = b".".join((head, b64(good_claims(htm="POST")), tail))

    assert reason(proof(header={"jwk": other.jwk})) == "proof_signature_invalid"
    assert reason(changed, method="POST") == "proof_signature_invalid"
    assert reason(b".".join((head, body, b64(b"\0" * 64)))) == "proof_signature_invalid"


@pytest.mark.parametrize("private", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
def test_section_4_3_7_a_private_key_is_refused(private: str) -> None:
    """A client that sends it has no key any more."""
    jwk = {**JWK, private: "A" * 43}

    assert reason(proof(header={"jwk": jwk})) == "proof_key_private"


@pytest.mark.parametrize(
    ("jwk", "expected"),
    [
        (..., "proof_key_missing"),
        (None, "proof_key_missing"),
        ("https://evil.example/jwk", "proof_key_missing"),
        ([JWK], "proof_key_missing"),
        ({}, "proof_key_unsuitable"),
        ({"kty": "oct", "k": "c2VjcmV0"}, "proof_key_private"),
        ({"kty": "oct"}, "proof_key_private"),
        ({"kty": "EC"}, "proof_key_unsuitable"),
        ({**JWK, "crv": "P-384"}, "proof_key_unsuitable"),
        ({**JWK, "crv": "secp256k1"}, "proof_key_unsuitable"),
        ({**JWK, "y": JWK["x"]}, "proof_key_unsuitable"),
        ({**JWK, "x": JWK["x"] + "="}, "proof_key_unsuitable"),
        ({**JWK, "use": "enc"}, "proof_key_unsuitable"),
        ({**JWK, "key_ops": ["sign"]}, "proof_key_unsuitable"),
        ({**JWK, "alg": "ES384"}, "proof_key_unsuitable"),
        (client_key(algorithm="EdDSA").jwk, "proof_key_unsuitable"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_section_4_3_7_the_key_is_public_and_fits_the_algorithm(jwk: object, expected: str) -> None:
    """A point off the curve, a secret, somebody else's kind of key."""
    assert reason(proof(header={"jwk": jwk})) == expected


@pytest.mark.parametrize("member", ["jku", "x5u", "x5c"])
def test_section_4_3_7_a_key_by_reference_is_refused(member: str) -> None:
    """Nothing is fetched for a proof (RFC 8725 section 3.10)."""
    found = reason(proof(header={member: "https://evil.example/keys"}))

    assert found == "proof_key_by_reference"


def test_section_4_3_7_a_weak_rsa_key_is_refused() -> None:
    """1024 bits are for sale; a public exponent of 2048 bits costs like a private one."""
    jwk = client_key(algorithm="RS256").jwk
    small = b64(b"\xff" * 128).decode()
    long_exponent = b64(b"\x7f" + b"\xff" * 255).decode()
    judge = validator(policy=ALL_ALGORITHMS)
    key = client_key(algorithm="RS256")

    for change in ({"n": small}, {"e": long_exponent}, {"e": "Ag"}):
        found = reason(proof(header={"jwk": {**jwk, **change}}, key=key), judge)
        assert found == "proof_key_unsuitable"


@pytest.mark.parametrize("htm", ["get", "Get", "POST", "GET ", "GET,POST", "*"])
def test_section_4_3_8_htm_is_the_method_of_this_request(htm: str) -> None:
    """Methods are case-sensitive (RFC 9110 section 9.1)."""
    assert reason(proof(htm=htm)) == "proof_htm_mismatch"


def test_section_4_3_9_htu_is_the_address_of_this_request() -> None:
    """The spellings that are refused and accepted are in ``tests/auth/dpop/test_htu.py``."""
    assert reason(proof(htu="https://api.example/other")) == "proof_htu_mismatch"
    assert reason(proof(htu="https://evil.example/notes")) == "proof_htu_mismatch"
    assert reason(proof(htu="http://api.example/notes")) == "proof_htu_mismatch"
    assert validator().inspect(request(proof(htu=f"{URL}?q=1#f")))


def test_section_4_3_10_with_nonces_the_proof_holds_one_of_ours() -> None:
    """Section 8: the refusal says which one to use."""
    judge = validator(nonces=nonces())
    known = nonces().current()

    for wrong in ("", known[:-1], known + "A", "x", 7, None, [known]):
        assert reason(proof(nonce=wrong), judge) in {"proof_nonce_stale", "proof_nonce_missing"}
    with pytest.raises(DPoPProofError) as caught:
        judge.inspect(request(proof()))
    assert (caught.value.code, caught.value.reason) == ("use_dpop_nonce", "proof_nonce_missing")
    assert caught.value.headers == ((b"dpop-nonce", known.encode()),)
    assert judge.inspect(request(proof(nonce=known))).nonce == known


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (91, "proof_expired"),
        (90, None),
        (0, None),
        (-30, None),
        (-31, "proof_from_the_future"),
        (10**9, "proof_expired"),
        (90.5, "proof_expired"),
    ],
)
def test_section_4_3_11_the_proof_is_recent(age: float, expected: str | None) -> None:
    """60 seconds old at most, and 30 for clocks that differ."""
    text = proof(iat=NOW - age)

    if expected is None:
        assert validator().inspect(request(text)).issued_at == NOW - age
    else:
        assert reason(text) == expected


@pytest.mark.parametrize(
    ("claim", "value", "expected"),
    [
        ("exp", NOW - 30, "proof_expired"),
        ("exp", "never", "proof_expired"),
        ("exp", True, "proof_expired"),
        ("nbf", NOW + 31, "proof_from_the_future"),
        ("nbf", None, "proof_from_the_future"),
    ],
)
def test_section_4_3_11_a_proof_that_limits_itself_is_believed(
    claim: str, value: object, expected: str
) -> None:
    """RFC 7519 sections 4.1.4 and 4.1.5 hold for every JWT that has them."""
    assert reason(proof(good_claims(**{claim: value}))) == expected
    assert validator().inspect(request(proof(exp=NOW + 1, nbf=NOW)))


def test_section_4_3_12a_ath_is_the_hash_of_the_token() -> None:
    """A proof for one token does not serve another of the same key."""
    text = proof(token=TOKEN)

    assert validator().inspect(request(text), access_token=TOKEN)
    assert reason(text, access_token=TOKEN + b"x") == "proof_ath_mismatch"
    assert reason(proof(), access_token=TOKEN) == "proof_ath_missing"
    for wrong in (None, 1, ["x"]):
        assert reason(proof(ath=wrong), access_token=TOKEN) == "proof_ath_missing"
    assert reason(proof(ath="é"), access_token=TOKEN) == "proof_ath_mismatch"


def test_section_4_3_12b_the_key_is_the_one_the_token_is_bound_to() -> None:
    """Whoever holds the token and a key of their own has nothing."""
    mine, theirs = client_key(), client_key(1)

    assert validator().inspect(request(proof()), bound_to=mine.kid)
    assert reason(proof(key=theirs), bound_to=mine.kid) == "proof_key_mismatch"
    assert reason(proof(), bound_to="") == "proof_key_mismatch"
    assert reason(proof(), bound_to="é") == "proof_key_mismatch"


BROKEN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "4.3-4": ({"header": {"typ": "jwt"}}, {}),
    "4.3-3": ({"jti": "j" * 300}, {}),
    "4.3-8": ({"htm": "POST"}, {}),
    "4.3-9": ({"htu": "https://evil.example/notes"}, {}),
    "4.3-11": ({"iat": NOW - 3600}, {}),
    "4.3-10": ({"nonce": "old"}, {}),
    "4.3-12a": ({"ath": "A" * 43}, {"access_token": TOKEN}),
    "4.3-12b": ({"key": client_key(1)}, {"access_token": None, "bound_to": client_key().kid}),
    "4.3-6": ({"header": {"jwk": client_key(1).jwk}}, {}),
    "4.3-5": ({"key": client_key(algorithm="ES384")}, {}),
}


@pytest.mark.parametrize("clause", sorted(BROKEN))
def test_control_without_a_check_the_proof_that_it_refuses_is_accepted(
    clause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: each row of the table is what refuses, and no other row does it."""
    changes, asked = BROKEN[clause]
    judge = validator(nonces=nonces())
    text = proof(**{"nonce": nonces().current(), **changes})
    with pytest.raises(DPoPProofError):
        judge.inspect(request(text), **asked)

    kept = tuple(each for each in CHECKS if each.clause != clause)
    monkeypatch.setattr(checks, "CHECKS", kept)

    assert len(kept) == len(CHECKS) - 1
    assert judge.inspect(request(text), **asked)


def test_a_table_without_the_check_of_the_key_accepts_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a key nothing is proven, whichever rows somebody takes out."""
    kept = tuple(each for each in CHECKS if each.clause not in {"4.3-7", "4.3-6"})
    monkeypatch.setattr(checks, "CHECKS", kept)

    assert reason(proof()) == "proof_key_missing"


def test_the_table_has_every_check_of_the_section() -> None:
    """Twelve numbers, the last in two parts; the used proofs of section 11.1 come after."""
    numbers = {f"4.3-{number}" for number in range(1, 12)} | {"4.3-12a", "4.3-12b"}

    assert {each.clause for each in CHECKS} == numbers
    assert all(each.demand.__doc__ for each in CHECKS)


def test_section_11_6_the_list_of_algorithms_is_the_servers() -> None:
    """A client's choice is not followed."""
    only_eddsa = validator(policy=DPoPPolicy(algorithms=("EdDSA",)))
    key = client_key(algorithm="EdDSA")

    assert reason(proof(), only_eddsa) == "proof_algorithm_not_accepted"
    assert only_eddsa.inspect(request(proof(key=key)))
    assert only_eddsa.inspect(request(proof(header={"alg": "Ed25519"}, key=key)))
    for secret in (json.dumps(JWK).encode(), b""):
        assert reason(signed_by_a_secret("HS256", secret)) == "proof_algorithm_not_accepted"
