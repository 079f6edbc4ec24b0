"""Signing keys and JSON Web Keys: made strong, read strictly, shown in public halves only."""

from __future__ import annotations

import base64
import json
import pickle
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers, RSAPublicNumbers
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.auth.jose import SigningKey
from asgi_guard.auth.jose.jwk import public_jwk, thumbprint, verification_key_of
from asgi_guard.errors import ConfigError
from tests.support.jose_tokens import signing_key
from tests.support.tenancy_tokens import SECRET, b64, private_key, private_pem, public_pem

ALGORITHMS = ["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_public_jwk_is_read_back_as_the_same_key(algorithm: str) -> None:
    """Through JSON, as a verifier elsewhere gets it."""
    key = signing_key(algorithm)
    document = json.loads(json.dumps(key.jwk))

    read = verification_key_of(document, algorithm=algorithm)

    assert read.kid == key.kid == thumbprint(read.public_key)
    assert read.verify(b"message", key.sign(b"message"))
    assert not read.verify(b"message!", key.sign(b"message"))
    assert document["use"] == "sig"
    assert set(document) <= {"alg", "kid", "use", "kty", "n", "e", "crv", "x", "y"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_survives_its_pem_under_the_same_name(algorithm: str) -> None:
    """The kid is computed from the key, not kept beside it."""
    key = signing_key(algorithm)
    again = SigningKey(key.pem(), algorithm=algorithm)

    assert again.kid == key.kid
    assert key.public.verify(b"m", again.sign(b"m"))


def test_a_private_key_is_not_shown_and_not_pickled() -> None:
    """Not by a log line, nor by a process pool."""
    key = signing_key("RS256")

    assert "PRIVATE" not in f"{key!r}{key}{key.pem()!r}"
    with pytest.raises(TypeError):
        pickle.dumps(key)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (public_pem("rsa-2048"), "RS256"),
        (private_pem("rsa-1024"), "RS256"),
        (private_pem("p-256"), "RS256"),
        (private_pem("p-384"), "ES256"),
        (private_pem("secp256k1"), "ES256"),
        (private_pem("ed448"), "Ed25519"),
        (private_pem("rsa-2048"), "HS256"),
        (private_pem("rsa-2048"), "none"),
        (private_key("p-256").public_key(), "ES256"),
        (SECRET, "ES256"),
        ("", "ES256"),
        (None, "ES256"),
    ],
)
def test_a_key_that_must_not_sign_is_refused(key: Any, algorithm: str) -> None:
    """Weak, public, symmetric, of another kind, or none."""
    with pytest.raises(ConfigError) as caught:
        SigningKey(key, algorithm=algorithm)
    assert caught.value.__cause__ is None
    with pytest.raises(ConfigError):
        SigningKey.generate("RS256", rsa_bits=1024)


@pytest.mark.parametrize("name", ["p", "q", "dmp1", "dmq1", "iqmp"])
def test_a_damaged_key_is_refused_or_never_signs_wrongly(name: str) -> None:
    """One faulty RSA signature gives the key away (Boneh, DeMillo and Lipton, 1997)."""
    numbers = private_key("rsa-2048").private_numbers()
    parts = {each: getattr(numbers, each) for each in ("p", "q", "d", "dmp1", "dmq1", "iqmp")}
    parts[name] += 2
    damaged = RSAPrivateNumbers(**parts, public_numbers=numbers.public_numbers)

    try:
        key = SigningKey(
            damaged.private_key(unsafe_skip_rsa_key_validation=True), algorithm="RS256"
        )
    except (ConfigError, ValueError):
        return
    assert all(key.public.verify(b"%d" % each, key.sign(b"%d" % each)) for each in range(3))


def test_a_private_key_under_another_ones_public_half_is_refused() -> None:
    """The trial signature finds it; nothing else looks."""
    ours = private_key("rsa-2048").private_numbers()
    exponent = RSAPublicNumbers(3, ours.public_numbers.n)
    mixed = RSAPrivateNumbers(
        ours.p, ours.q, ours.d, ours.dmp1, ours.dmq1, ours.iqmp, public_numbers=exponent
    )

    with pytest.raises(ConfigError, match="refuses"):
        SigningKey(mixed.private_key(unsafe_skip_rsa_key_validation=True), algorithm="RS256")


RSA = signing_key("RS256").jwk
PADDED = b64(b"\x00" + base64.urlsafe_b64decode(RSA["n"] + "==")).decode()
EC = signing_key("ES256").jwk
OKP = signing_key("EdDSA").jwk


@pytest.mark.parametrize(
    ("jwk", "algorithm"),
    [
        ({**RSA, "d": "AQ"}, "RS256"),
        ({**RSA, "oth": []}, "RS256"),
        ({"kty": "oct", "k": "A" * 43}, "RS256"),
        ({**RSA, "kty": "oct"}, "RS256"),
        ({**RSA, "use": "enc"}, "RS256"),
        ({**RSA, "key_ops": ["encrypt"]}, "RS256"),
        ({**RSA, "key_ops": ["verify", "sign"]}, "RS256"),
        ({**RSA, "key_ops": 7}, "RS256"),
        ({**RSA, "alg": "RS512"}, "RS256"),
        ({**RSA, "alg": ["RS256"]}, "RS256"),
        ({**RSA, "alg": "none"}, "RS256"),
        ({**RSA, "kid": 7}, "RS256"),
        ({**RSA, "kid": ""}, "RS256"),
        (RSA, "ES256"),
        ({**RSA, "e": "AQ"}, "RS256"),
        ({**RSA, "e": "AA"}, "RS256"),
        ({**RSA, "e": ""}, "RS256"),
        ({**RSA, "n": "AAEA"}, "RS256"),
        ({**RSA, "n": public_jwk(private_key("rsa-1024").public_key())["n"]}, "RS256"),
        ({**RSA, "n": PADDED}, "RS256"),
        ({**RSA, "n": RSA["n"] + "="}, "RS256"),
        ({**RSA, "n": 7}, "RS256"),
        ({**RSA, "n": "_" * 4097}, "RS256"),
        ({**RSA, "crv": "P-256"}, "RS256"),
        ({**EC, "y": EC["x"]}, "ES256"),
        ({**EC, "x": "AQ"}, "ES256"),
        ({**EC, "crv": "P-384"}, "ES256"),
        ({**EC, "crv": ["P-256"]}, "ES256"),
        ({**EC, "crv": "secp256k1"}, "ES256"),
        ({**OKP, "x": "AQ"}, "EdDSA"),
        ({**OKP, "crv": "X25519"}, "EdDSA"),
        ({**OKP, "crv": {}}, "EdDSA"),
        ({}, "EdDSA"),
    ],
)
def test_a_jwk_that_is_private_weak_or_malformed_is_refused(jwk: Any, algorithm: str) -> None:
    """By our error alone; a document from elsewhere is not trusted."""
    with pytest.raises(ConfigError) as caught:
        verification_key_of(jwk, algorithm=algorithm)
    assert caught.value.__cause__ is None


NAMES = ["kty", "n", "e", "alg", "use", "key_ops", "kid", "crv", "x", "y", "d"]
VALUES = (
    st.none()
    | st.integers()
    | st.text()
    | st.lists(st.text())
    | st.sampled_from(sorted(RSA.values()))
)


@given(
    st.sampled_from([RSA, EC, OKP]),
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3),
    st.sampled_from(["RS256", "ES256", "EdDSA"]),
)
def test_any_jwk_is_a_key_or_our_error(
    base: dict[str, str], changes: dict[str, Any], algorithm: str
) -> None:
    """Whatever a remote document holds."""
    try:
        verification_key_of({**base, **changes}, algorithm=algorithm)
    except ConfigError:
        return
    assert "d" not in changes
