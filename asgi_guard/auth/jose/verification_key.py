"""VerificationKey: one key bound to one algorithm, checked when it is built.

What an attacker may choose in a token is not believed here: the algorithm comes from the
configuration, so that neither ``alg: none`` nor an RSA public key used as an HMAC secret can
verify anything (RFC 8725 sections 2.1 and 3.1).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from asgi_guard.auth.jose.algorithms import (
    CURVES,
    LONGEST_RSA,
    RSA_ALGORITHMS,
    SHORTEST_RSA,
    SHORTEST_SECRET,
    canonical_algorithm,
    implementation,
)
from asgi_guard.auth.jose.roca import is_roca_modulus
from asgi_guard.errors import ConfigError
from asgi_guard.secret import Secret

__all__ = ["VerificationKey"]


class VerificationKey:
    """A key that verifies signatures of one algorithm; parsed once.

    Args:
        key: For ``HS*`` the secret (a `Secret`, str or bytes), else a public key: PEM, or an
            object of ``cryptography``.
        algorithm: One of RFC 7518 section 3.1 (not ``none``), ``EdDSA`` (RFC 8037) or
            ``Ed25519`` (RFC 9864).
        kid: By which tokens name it; None if they need not.

    Raises:
        ConfigError: The key is weak, private, unreadable, or of another kind than the algorithm.
    """

    __slots__ = ("_key", "_names", "_verify", "algorithm", "kid")

    def __init__(self, key: Any, *, algorithm: str, kid: str | None = None) -> None:
        self.algorithm = canonical_algorithm(algorithm)
        self.kid = kid
        plain = key.reveal() if isinstance(key, Secret) else key
        self._key = _secret(plain, algorithm) if self.is_symmetric else _public(plain)
        if not self.is_symmetric:
            _check_kind(self._key, self.algorithm)
        self._names = {self.algorithm}
        if isinstance(self._key, Ed25519PublicKey):
            self._names.add("Ed25519")
        elif algorithm == "Ed25519":
            raise ConfigError("key", "is on Ed448", "Name its algorithm: EdDSA.")
        self._verify = implementation(self.algorithm).verify

    @property
    def is_symmetric(self) -> bool:
        """Whether it can sign as well."""
        return self.algorithm in SHORTEST_SECRET

    @property
    def public_key(self) -> Any:
        """The object of ``cryptography``; None for a secret."""
        return None if self.is_symmetric else self._key

    def is_same(self, other: VerificationKey) -> bool:
        """Tell whether *other* is the same public key, for the same algorithm."""
        return self.algorithm == other.algorithm and self.public_key == other.public_key

    def takes(self, name: object) -> bool:
        """Tell whether the ``alg`` of a token is the one of this key."""
        return isinstance(name, str) and name in self._names

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tell whether *signature* over *message* was made with the other half of this key."""
        try:
            return self._verify(message, self._key, signature)
        except ValueError:  # a number too large for the key
            return False

    def __repr__(self) -> str:
        return f"VerificationKey(algorithm={self.algorithm!r}, kid={self.kid!r})"


def _secret(key: Any, algorithm: str) -> bytes:
    shortest = SHORTEST_SECRET[algorithm]
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
    if algorithm in RSA_ALGORITHMS and isinstance(key, RSAPublicKey):
        if key.key_size < SHORTEST_RSA:
            raise ConfigError(
                "key", f"has {key.key_size} bits", f"Use RSA of {SHORTEST_RSA} bits or more."
            )
        if key.key_size > LONGEST_RSA:
            raise ConfigError("key", f"has {key.key_size} bits", "Use RSA of 4096 bits.")
        if is_roca_modulus(key.public_numbers().n):
            raise ConfigError("key", "can be factored (CVE-2017-15361)", "Make another key.")
        return
    if algorithm in CURVES and isinstance(key, EllipticCurvePublicKey):
        if not isinstance(key.curve, CURVES[algorithm]):
            raise ConfigError(
                "key",
                f"is on {key.curve.name}",
                f"{algorithm} means {CURVES[algorithm].name} (RFC 7518 section 3.4).",
            )
        return
    if algorithm == "EdDSA" and isinstance(key, Ed25519PublicKey | Ed448PublicKey):
        return
    raise ConfigError(
        "key",
        f"is a {type(key).__name__}, which cannot verify {algorithm}",
        f"Pass the public key of {algorithm}.",
    )
