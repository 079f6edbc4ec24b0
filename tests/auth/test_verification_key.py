"""Keys are bound to one algorithm and checked when the app is built."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_guard.auth.jose.verification_key import VerificationKey
from asgi_guard.errors import ConfigError
from asgi_guard.secret import Secret
from tests.support.tenancy_tokens import (
    SECRET,
    authenticator,
    private_key,
    private_pem,
    public_pem,
    signed,
)
from tests.support.tenancy_world import ACME

PAIRS = [
    ("RS256", "rsa-2048"),
    ("RS512", "rsa-2048"),
    ("PS256", "rsa-2048"),
    ("ES256", "p-256"),
    ("ES384", "p-384"),
    ("ES512", "p-521"),
    ("EdDSA", "ed25519"),
    ("EdDSA", "ed448"),
]


@pytest.mark.parametrize(("algorithm", "kind"), PAIRS)
@pytest.mark.parametrize("form", ["pem", "bytes", "object"])
async def test_each_algorithm_verifies_with_its_own_kind_of_key(
    algorithm: str, kind: str, form: str
) -> None:
    """As a PEM file's text or bytes, or as an object that was loaded elsewhere."""
    pem = public_pem(kind)
    key = {"pem": pem, "bytes": pem.encode(), "object": private_key(kind).public_key()}[form]
    token = signed(key=private_key(kind), algorithm=algorithm)

    principal = await authenticator(key=key, algorithm=algorithm).authenticate(
        {"type": "http", "headers": [(b"authorization", b"Bearer " + token)]}
    )

    assert principal is not None
    assert (principal.user_id, principal.tenant_id) == ("alice", ACME)


@pytest.mark.parametrize(("algorithm", "length"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_a_secret_is_as_long_as_the_hash(algorithm: str, length: int) -> None:
    """RFC 7518 section 3.2; shorter ones are found by trying, offline."""
    long_enough = "s" * length
    for key in (long_enough, long_enough.encode(), Secret(long_enough)):
        VerificationKey(key, algorithm=algorithm)

    with pytest.raises(ConfigError, match="too few") as caught:
        VerificationKey("s" * (length - 1), algorithm=algorithm)
    assert "sss" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "algorithm", "problem"),
    [
        (public_pem("rsa-2048"), "HS256", "asymmetric"),
        ("ssh-ed25519 " + "A" * 68, "HS256", "asymmetric"),
        (private_key("rsa-2048").public_key(), "HS256", "no secret"),
        (public_pem("rsa-1024"), "RS256", "1024 bits"),
        (public_pem("p-256"), "RS256", "cannot verify"),
        (public_pem("rsa-2048"), "ES256", "cannot verify"),
        (public_pem("p-384"), "ES256", "secp384r1"),
        (public_pem("secp256k1"), "ES256", "secp256k1"),
        (public_pem("rsa-2048"), "EdDSA", "cannot verify"),
        (public_pem("ed25519"), "ES256", "cannot verify"),
        (private_pem("rsa-2048"), "RS256", "private key"),
        (private_key("rsa-2048"), "RS256", "cannot verify"),
        (SECRET, "RS256", "not a PEM"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "RS256", "not a PEM"),
        ("", "RS256", "not a PEM"),
        (None, "RS256", "cannot verify"),
        (None, "HS256", "no secret"),
        (SECRET, "none", "not supported"),
        (SECRET, "hs256", "not supported"),
        (SECRET, "", "not supported"),
        (SECRET, "ES256K", "not supported"),
    ],
)
def test_a_key_that_is_weak_or_of_another_kind_is_refused_when_built(
    key: Any, algorithm: str, problem: str
) -> None:
    """Key confusion starts with a verifier that takes whatever key it is given."""
    with pytest.raises(ConfigError, match=problem) as caught:
        VerificationKey(key, algorithm=algorithm)
    assert caught.value.__cause__ is None
    assert "AAAA" not in str(caught.value)
