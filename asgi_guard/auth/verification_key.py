"""VerificationKey: one key bound to one algorithm, checked when it is built.

What an attacker may choose in a token is not believed here: the algorithm comes from the
configuration, so that neither ``alg: none`` nor an RSA public key used as an HMAC secret can
verify anything (RFC 8725 sections 2.1 and 3.1).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import get_default_algorithms

from asgi_guard.errors import ConfigError
from asgi_guard.secret import Secret

__all__ = ["VerificationKey"]

_SHORTEST_RSA: Final = 2048  # bits; RFC 7518 section 3.3
# RFC 7518 section 3.2: as long as the hash; a shorter secret is searched offline.
_SHORTEST_SECRET: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
_CURVES: Final = {"ES256": SECP256R1, "ES384": SECP384R1, "ES512": SECP521R1}
_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_ALGORITHMS: Final = frozenset({*_SHORTEST_SECRET, *_CURVES, *_RSA, "EdDSA"})


class VerificationKey:
    """A key that verifies signatures of one algorithm; parsed once.

    Args:
        key: For ``HS*`` the secret (a `Secret`, str or bytes), else a public key: PEM, or an
            object of ``cryptography``.
        algorithm: One of RFC 7518 section 3.1 (not ``none``), or ``EdDSA`` (RFC 8037).

    Raises:
        ConfigError: The key is weak, private, unreadable, or of another kind than the algorithm.
    """

    __slots__ = ("_key", "_verify", "algorithm")

    def __init__(self, key: Any, *, algorithm: str) -> None:
        if algorithm not in _ALGORITHMS:
            known = ", ".join(sorted(_ALGORITHMS))
            raise ConfigError("algorithm", f"{algorithm!r} is not supported", f"Use {known}.")
        self.algorithm = algorithm
        plain = key.reveal() if isinstance(key, Secret) else key
        self._key = _secret(plain, algorithm) if algorithm in _SHORTEST_SECRET else _public(plain)
        if algorithm not in _SHORTEST_SECRET:
            _check_kind(self._key, algorithm)
        self._verify = get_default_algorithms()[algorithm].verify

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tell whether *signature* over *message* was made with the other half of this key."""
        return self._verify(message, self._key, signature)


def _secret(key: Any, algorithm: str) -> bytes:
    shortest = _SHORTEST_SECRET[algorithm]
    if isinstance(key, str):
        key = key.encode()
    if not isinstance(key, bytes):
        raise ConfigError("key", "is no secret", f"Pass {shortest} random bytes for {algorithm}.")
    if b"-----BEGIN" in key or key.startswith((b"ssh-", b"ecdsa-sha2-")):
        raise ConfigError(
            "key",
            f"is an asymmetric key, and {algorithm} is symmetric",
            "Anyone who has the public key could sign. Name the key's own algorithm.",
        )
    if len(key) < shortest:
        raise ConfigError(
            "key",
            f"has {len(key)} bytes, too few for {algorithm}",
            f"Use {shortest} random bytes, e.g. secrets.token_bytes({shortest}).",
        )
    return key


def _public(key: Any) -> Any:
    if isinstance(key, str):
        key = key.encode()
    if not isinstance(key, bytes):
        return key
    if b"PRIVATE KEY-----" in key:
        raise ConfigError("key", "is a private key", "A verifier needs the public half only.")
    loaded = None
    with suppress(ValueError, UnsupportedAlgorithm):  # their text may show parts of the key
        loaded = load_pem_public_key(key)
    if loaded is None:
        raise ConfigError("key", "is not a PEM public key", "Pass -----BEGIN PUBLIC KEY----- ...")
    return loaded


def _check_kind(key: Any, algorithm: str) -> None:
    if algorithm in _RSA and isinstance(key, RSAPublicKey):
        if key.key_size < _SHORTEST_RSA:
            raise ConfigError(
                "key", f"has {key.key_size} bits", f"Use RSA of {_SHORTEST_RSA} bits or more."
            )
        return
    if algorithm in _CURVES and isinstance(key, EllipticCurvePublicKey):
        if not isinstance(key.curve, _CURVES[algorithm]):
            raise ConfigError(
                "key",
                f"is on {key.curve.name}",
                f"{algorithm} means {_CURVES[algorithm].name} (RFC 7518 section 3.4).",
            )
        return
    if algorithm == "EdDSA" and isinstance(key, Ed25519PublicKey | Ed448PublicKey):
        return
    raise ConfigError(
        "key",
        f"is a {type(key).__name__}, which cannot verify {algorithm}",
        f"Pass the public key of {algorithm}.",
    )
