"""SigningKey: a private key, its one algorithm and its kid, as one object that cannot be torn.

A signer that reads "the current kid" and "the current key" one after the other signs, once in a
rotation, with one key under the other's name. Here the three travel together.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final, NoReturn

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from asgi_guard.auth.jose.algorithms import (
    CURVES,
    LONGEST_RSA,
    RSA_ALGORITHMS,
    SHORTEST_RSA,
    SHORTEST_SECRET,
    canonical_algorithm,
    implementation,
)
from asgi_guard.auth.jose.jwk import public_jwk, thumbprint
from asgi_guard.auth.jose.verification_key import VerificationKey
from asgi_guard.errors import ConfigError
from asgi_guard.secret import Secret

__all__ = ["SigningKey"]

_RSA_BITS: Final = 4096
_EXPONENT: Final = 65537
_TRIAL: Final = b"asgi-guard trial signature"


class SigningKey:
    """A private key that signs with one algorithm.

    Args:
        key: A private key: PEM (PKCS #8, as a `Secret`, str or bytes), or an object of
            ``cryptography``. Parsing RSA PEM takes up to 0.3 s: not on the event loop.
        algorithm: One of RFC 7518 section 3.1 that is not symmetric, or ``EdDSA``.

    Raises:
        ConfigError: The key is public, weak, unreadable, or of another kind than the algorithm.

    ``kid`` is the thumbprint of RFC 7638: two services that hold one key call it the same.
    """

    __slots__ = ("__key", "_sign", "algorithm", "kid", "public")

    def __init__(self, key: Any, *, algorithm: str) -> None:
        self.algorithm = _asymmetric(algorithm)
        self.__key = _private(key.reveal() if isinstance(key, Secret) else key)
        public = self.__key.public_key()
        self.kid = thumbprint(public)
        self.public = VerificationKey(public, algorithm=algorithm, kid=self.kid)
        self._sign = implementation(self.algorithm).sign
        if not self._signs():
            raise ConfigError("key", "signs what its public half refuses", "It is damaged.")

    @classmethod
    def generate(cls, algorithm: str = "RS256", *, rsa_bits: int = _RSA_BITS) -> SigningKey:
        """Make a new key; seconds for RSA-4096, so not on the event loop.

        Raises:
            ConfigError: The algorithm is unknown or symmetric, or the key would be weak.
        """
        name = cls.check_choice(algorithm, rsa_bits)
        if name in CURVES:
            return cls(ec.generate_private_key(CURVES[name]()), algorithm=name)
        if name not in RSA_ALGORITHMS:
            return cls(ed25519.Ed25519PrivateKey.generate(), algorithm=name)
        return cls(rsa.generate_private_key(_EXPONENT, rsa_bits), algorithm=name)

    @staticmethod
    def check_choice(algorithm: str, rsa_bits: int) -> str:
        """Return the canonical name of *algorithm* if a key of it may be generated.

        Raises:
            ConfigError: The algorithm is unknown or symmetric, or the key would be weak.
        """
        name = _asymmetric(algorithm)
        if rsa_bits not in range(SHORTEST_RSA, LONGEST_RSA + 1):
            raise ConfigError("rsa_bits", f"is {rsa_bits!r}", "Use 4096; at least 2048.")
        return name

    @property
    def jwk(self) -> dict[str, str]:
        """The public half as a JWK (RFC 7517 section 4)."""
        members = public_jwk(self.public.public_key)
        return {**members, "alg": self.algorithm, "kid": self.kid, "use": "sig"}

    def pem(self) -> Secret:
        """Return the private key as PKCS #8 PEM, for a file that nobody else may read."""
        pem: bytes = self.__key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Secret(pem.decode())

    def sign(self, message: bytes) -> bytes:
        """Return the signature over *message*; milliseconds for RSA-4096."""
        return self._sign(message, self.__key)

    def _signs(self) -> bool:
        try:
            return self.public.verify(_TRIAL, self.sign(_TRIAL))
        except (ValueError, InternalError):
            return False

    def __repr__(self) -> str:
        return f"SigningKey(algorithm={self.algorithm!r}, kid={self.kid!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SigningKey is not serialised; read it where it is used")


def _asymmetric(algorithm: str) -> str:
    name = canonical_algorithm(algorithm)
    if name in SHORTEST_SECRET:
        raise ConfigError(
            "algorithm",
            f"{name} is symmetric, so whoever verifies could sign",
            "Use RS256, ES256 or EdDSA.",
        )
    return name


def _private(key: Any) -> Any:
    pem = key.encode() if isinstance(key, str) else key
    if isinstance(pem, bytes):
        key = None
        with suppress(ValueError, TypeError, UnsupportedAlgorithm):  # may show parts of the key
            # Its validation of an RSA-4096 key takes 0.6 s and does not release the interpreter's
            # lock, so that even from a thread it stalls the loop. A trial signature, below, takes
            # milliseconds and finds a key whose halves do not belong together.
            key = load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=True)
    if not hasattr(key, "private_bytes"):
        raise ConfigError("key", "is no private key", "Pass PKCS #8 PEM without a passphrase.")
    return key
