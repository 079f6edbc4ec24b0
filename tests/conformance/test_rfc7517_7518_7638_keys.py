"""RFC 7517 (keys), 7518 (algorithms), 7638 (thumbprints) and 8037 (Ed25519), by clause."""

from __future__ import annotations

import pytest

from asgi_guard.auth.jose import SigningKey, VerificationKey
from asgi_guard.auth.jose.compact_jws import parse_compact_jws
from asgi_guard.auth.jose.jwk import public_jwk, thumbprint, verification_key_of
from asgi_guard.errors import ConfigError
from tests.support.jose_tokens import signing_key

RFC7638_N = (
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZ"
    "CiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJ"
    "ZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xB"
    "niIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
)
RFC8037_KEY = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
RFC8037_JWS = (
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)


def test_rfc_7638_section_3_1_the_example_has_its_thumbprint() -> None:
    """Members besides the required ones, such as alg and kid, do not count."""
    jwk = {"kty": "RSA", "n": RFC7638_N, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
    key = verification_key_of(jwk, algorithm="RS256")

    assert thumbprint(key.public_key) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_rfc_8037_appendix_a_3_the_example_has_its_thumbprint() -> None:
    """Octet key pairs: crv, kty and x."""
    key = verification_key_of(RFC8037_KEY, algorithm="EdDSA")

    assert thumbprint(key.public_key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_rfc_8037_appendix_a_5_the_example_verifies() -> None:
    """Under either name of the algorithm."""
    jws = parse_compact_jws(RFC8037_JWS.encode())

    for name in ("EdDSA", "Ed25519"):
        key = verification_key_of(RFC8037_KEY, algorithm=name)
        assert key.verify(jws.signing_input, jws.signature)
        assert not key.verify(jws.signing_input + b"x", jws.signature)


def test_rfc_7517_section_4_2_a_key_for_encryption_verifies_nothing() -> None:
    """``use`` enc, and ``key_ops`` without verify."""
    for extra in ({"use": "enc"}, {"key_ops": ["encrypt"]}, {"use": 7}):
        with pytest.raises(ConfigError):
            verification_key_of({**signing_key().jwk, **extra}, algorithm="ES256")


def test_rfc_7517_section_9_3_private_members_are_not_read_as_public() -> None:
    """Whoever publishes one has lost it."""
    with pytest.raises(ConfigError, match="private"):
        verification_key_of({**RFC8037_KEY, "d": "A" * 43}, algorithm="EdDSA")


@pytest.mark.parametrize(("algorithm", "length"), [("HS256", 31), ("HS384", 47), ("HS512", 63)])
def test_rfc_7518_section_3_2_a_secret_is_as_long_as_the_hash(algorithm: str, length: int) -> None:
    """Shorter ones are found by trying."""
    with pytest.raises(ConfigError, match="too few"):
        VerificationKey(bytes(length), algorithm=algorithm)
    VerificationKey(bytes(length + 1), algorithm=algorithm)


def test_rfc_7518_section_3_3_rsa_has_2048_bits_or_more() -> None:
    """Made or read."""
    with pytest.raises(ConfigError):
        SigningKey.generate("RS256", rsa_bits=2047)


def test_rfc_7518_section_3_4_a_signature_is_r_and_s_of_full_length() -> None:
    """64 octets for P-256; DER and cut ones do not verify."""
    key = signing_key("ES256")
    signature = key.sign(b"m")

    assert len(signature) == 64
    for wrong in (signature[:-1], signature + b"\x00", b"", bytes(64), signature[32:] * 2):
        assert not key.public.verify(b"m", wrong)


@pytest.mark.parametrize(("algorithm", "size"), [("ES256", 32), ("ES384", 48), ("ES512", 66)])
def test_rfc_7518_section_6_2_1_2_coordinates_keep_their_leading_zeros(
    algorithm: str, size: int
) -> None:
    """One key in 256 has one; a library that drops them cannot read its own key."""
    for number in range(3):
        jwk = public_jwk(signing_key(algorithm, number).public.public_key)
        assert {len(jwk["x"]), len(jwk["y"])} == {(size * 8 + 5) // 6}


def test_rfc_7518_section_2_numbers_have_no_leading_zeros() -> None:
    """Base64urlUInt; e is AQAB."""
    jwk = signing_key("RS256").jwk

    assert jwk["e"] == "AQAB"
    assert len(jwk["n"]) == 342
    assert "d" not in jwk
