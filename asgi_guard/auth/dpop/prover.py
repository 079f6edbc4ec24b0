"""DPoPProver: the client's half, a private key that makes proofs (RFC 9449 section 4.2)."""

from __future__ import annotations

import json
import secrets
from hashlib import sha256
from typing import Any, Final

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.pools import BoundedPool
from asgi_guard.auth.dpop.htu import canonical_uri
from asgi_guard.auth.jose.base64url import b64url_encode
from asgi_guard.auth.jose.jwk import public_jwk
from asgi_guard.auth.jose.signing_key import SigningKey
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Clock
from asgi_guard.secret import Secret

__all__ = ["DPoPProver"]

_JTI_BYTES: Final = 16
_SIGNERS: Final = BoundedPool("dpop-sign", workers=1, queue=256, full="dpop_signers_busy")


class DPoPProver:
    """Make proofs with one key.

    Args:
        key: The client's own, asymmetric; not one that signs tokens.
        clock: Where "now" comes from.

    Raises:
        ConfigError: *key* is no `SigningKey`.

    The tokens that are bound to the key are lost with it: keep ``key.pem()`` as long as them.
    """

    def __init__(self, key: SigningKey, *, clock: Clock = SYSTEM_CLOCK) -> None:
        if not isinstance(key, SigningKey):
            raise ConfigError("key", "is no SigningKey", "Use DPoPProver.generate().")
        self._key = key
        self._clock = clock
        jwk = public_jwk(key.public.public_key)
        self._header = _encoded({"typ": "dpop+jwt", "alg": key.algorithm, "jwk": jwk})

    @classmethod
    async def generate(
        cls, algorithm: str = "ES256", *, rsa_bits: int = 2048, clock: Clock = SYSTEM_CLOCK
    ) -> DPoPProver:
        """Make a new key, in a thread: an RSA key takes up to seconds.

        Raises:
            ConfigError: The algorithm is unknown or symmetric, or the key would be weak.
            UnavailableError: Too many wait for the thread.
        """
        SigningKey.check_choice(algorithm, rsa_bits)
        key = await _SIGNERS.run(lambda: SigningKey.generate(algorithm, rsa_bits=rsa_bits))
        return cls(key, clock=clock)

    @property
    def thumbprint(self) -> str:
        """The key's: ``dpop_jkt`` of an authorization request, ``cnf.jkt`` of its tokens."""
        return self._key.kid

    async def proof(
        self,
        method: str,
        url: str,
        *,
        access_token: Secret | str | None = None,
        nonce: str | None = None,
    ) -> str:
        """Return a proof for one request.

        Args:
            method: As it will be sent, e.g. ``"GET"``.
            url: As it will be sent; query and fragment are left out of the proof.
            access_token: That the request presents.
            nonce: That the server provided last.

        Raises:
            ConfigError: *url* is no absolute ``http(s)`` or ``ws(s)`` URL.
            UnavailableError: Too many proofs wait to be signed.
        """
        htu = canonical_uri(url)
        if htu is None:
            raise ConfigError("url", "is no absolute URL", "Pass 'https://api.example.com/path'.")
        claims: dict[str, Any] = {
            "jti": secrets.token_urlsafe(_JTI_BYTES),
            "htm": method,
            "htu": htu,
            "iat": int(self._clock.now()),
        }
        if access_token is not None:
            plain = access_token.reveal() if isinstance(access_token, Secret) else access_token
            claims["ath"] = b64url_encode(sha256(plain.encode()).digest()).decode()
        if nonce is not None:
            claims["nonce"] = nonce
        signing_input = self._header + b"." + _encoded(claims)
        signature = await _SIGNERS.run(lambda: self._key.sign(signing_input))
        return (signing_input + b"." + b64url_encode(signature)).decode()

    def __repr__(self) -> str:
        return f"DPoPProver(thumbprint={self.thumbprint!r})"


def _encoded(value: dict[str, Any]) -> bytes:
    return b64url_encode(json.dumps(value, separators=(",", ":")).encode())
