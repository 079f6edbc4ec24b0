"""Keys and tokens for authentication tests; keys are made once, RSA is slow."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from asgi_guard.auth import BearerJWTAuthenticator
from tests.support.tenancy_world import ACME, MovedClock

__all__ = [
    "AUDIENCE",
    "ISSUER",
    "SECRET",
    "authenticator",
    "b64",
    "claims",
    "private_key",
    "private_pem",
    "public_pem",
    "signed",
    "signed_as_is",
]

ISSUER, AUDIENCE = "https://issuer.example", "notes-api"
SECRET = bytes(range(64))
NOW = MovedClock().now()


@cache
def private_key(kind: str) -> Any:
    """Make a key pair, once for each kind."""
    makers: dict[str, Any] = {
        "rsa-1024": lambda: rsa.generate_private_key(65537, 1024),  # noqa: S505 - to be refused
        "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
        "p-256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "p-384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "p-521": lambda: ec.generate_private_key(ec.SECP521R1()),
        "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "ed448": ed448.Ed448PrivateKey.generate,
    }
    return makers[kind]()


def public_pem(kind: str) -> str:
    """Return the public half."""
    public = private_key(kind).public_key()
    pem: bytes = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def private_pem(kind: str) -> str:
    """Return the private half, as it is found in files."""
    pem: bytes = private_key(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem.decode()


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a good token; a change to None takes one out."""
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": NOW + 600, "tenant_id": ACME}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(
    payload: dict[str, Any] | None = None,
    *,
    key: Any = SECRET,
    algorithm: str = "HS256",
    header: dict[str, Any] | None = None,
) -> bytes:
    """Sign a token the way issuers do."""
    token = jwt.encode(claims() if payload is None else payload, key, algorithm, headers=header)
    return token.encode()


def signed_as_is(payload: bytes, header: bytes | None = None) -> bytes:
    """Sign what no issuer would write; both parts are base64url already."""
    signing_input = (header or b64({"alg": "HS256", "typ": "JWT"})) + b"." + payload
    algorithm = jwt.get_algorithm_by_name("HS256")
    return signing_input + b"." + b64(algorithm.sign(signing_input, SECRET))


def b64(value: bytes | dict[str, Any]) -> bytes:
    """Write base64url without padding, of bytes or of an object as JSON."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def authenticator(**changes: Any) -> BearerJWTAuthenticator:
    """Build the authenticator that accepts `signed()`."""
    settings: dict[str, Any] = {
        "key": SECRET,
        "algorithm": "HS256",
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "clock": MovedClock(),
    }
    return BearerJWTAuthenticator(**{**settings, **changes})
