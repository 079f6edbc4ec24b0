"""Keys, policies and tokens for tests of the jose room; each key is made once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest

from asgi_guard.auth.jose import JwtPolicy, KeySet, SigningKey, TokenVerifier
from asgi_guard.errors import AuthenticationError
from tests.support.tenancy_tokens import b64
from tests.support.tenancy_world import MovedClock

__all__ = [
    "AUDIENCE",
    "ISSUER",
    "NOW",
    "Signer",
    "access_claims",
    "made",
    "policy",
    "reason",
    "signing_key",
    "verifier",
]

ISSUER, AUDIENCE = "https://id.example", "notes-api"
NOW = int(MovedClock().now())


@cache
def signing_key(algorithm: str = "ES256", number: int = 0) -> SigningKey:
    """Make a key, once for each algorithm and *number*; RSA of the least allowed size."""
    del number
    return SigningKey.generate(algorithm, rsa_bits=2048)


def policy(**changes: Any) -> JwtPolicy:
    """Build the policy of these tests."""
    settings: dict[str, Any] = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "algorithms": ("RS256", "ES256", "EdDSA"),
    }
    return JwtPolicy(**{**settings, **changes})


def access_claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a good access token; a change to None takes one out."""
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "client_id": "web",
        "jti": "t-1",
        "iat": NOW,
        "exp": NOW + 600,
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def made(
    claims: Mapping[str, Any] | bytes | None = None,
    header: Mapping[str, Any] | bytes | None = None,
    *,
    key: SigningKey | None = None,
) -> bytes:
    """Sign what no issuer would: members of *header* replace the usual ones, bytes are as is."""
    signer = signing_key() if key is None else key
    usual = {"alg": signer.algorithm, "kid": signer.kid, "typ": "at+jwt"}
    if not isinstance(header, bytes):
        merged = {**usual, **(header or {})}
        header = json.dumps({k: v for k, v in merged.items() if v is not ...}).encode()
    if not isinstance(claims, bytes):
        claims = json.dumps(access_claims() if claims is None else claims).encode()
    signing_input = b64(header) + b"." + b64(claims)
    return signing_input + b"." + b64(signer.sign(signing_input))


def verifier(
    *keys: SigningKey, settings: Mapping[str, Any] | None = None, **changes: Any
) -> TokenVerifier:
    """Build a verifier for *keys*, by default the one that signs."""
    known = KeySet([key.public for key in keys or (signing_key(),)])
    return TokenVerifier(
        changes.pop("policy", None) or policy(**(settings or {})),
        keys=changes.pop("source", known),
        clock=changes.pop("clock", MovedClock()),
        **changes,
    )


async def reason(
    token: bytes | str,
    judge: TokenVerifier | None = None,
    *,
    token_type: str = "access",  # noqa: S107 - a kind of token
) -> str:
    """Verify *token*, which must be refused by our error with nothing hanging on it."""
    with pytest.raises(AuthenticationError) as caught:
        await (judge or verifier()).verify(token, token_type=token_type)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None, "a decoder's error would quote the token"
    return caught.value.reason


class Signer:
    """A source of one signing key that counts, for issuers."""

    def __init__(self, key: SigningKey, grace: float = 3600) -> None:
        self.key = key
        self.grace = grace
        self.asked = 0

    def signing_key(self) -> SigningKey:
        self.asked += 1
        return self.key
