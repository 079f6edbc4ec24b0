"""What a DPoP proof says of itself: its header's key, and the result of an accepted one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from asgi_guard.auth.dpop.refusal import refuse
from asgi_guard.auth.jose.jwk import has_private_members, thumbprint, verification_key_of
from asgi_guard.auth.jose.verification_key import VerificationKey
from asgi_guard.errors import ConfigError

__all__ = ["DPoPProof", "ProofKey", "proof_key"]

_LARGEST_EXPONENT: Final = 2**32  # a public exponent as long as the modulus costs a private one


@dataclass(frozen=True, slots=True, kw_only=True)
class DPoPProof:
    """An accepted proof; it holds no part of the proof's text.

    Args:
        thumbprint: Of the key (RFC 7638, SHA-256): what ``cnf.jkt`` of a token must be.
        jti: Its id.
        algorithm: As the proof names it.
        issued_at: Unix seconds, by the sender's clock.
        nonce: The server-provided nonce in it, if nonces are in use.
    """

    thumbprint: str
    jti: str
    algorithm: str
    issued_at: float
    nonce: str | None = None


class ProofKey(NamedTuple):
    """The public key that a proof brings along, and its thumbprint."""

    key: VerificationKey
    thumbprint: str


def proof_key(jwk: Mapping[str, Any], *, algorithm: str) -> ProofKey:
    """Read the ``jwk`` of a proof's header as a key of *algorithm* (RFC 9449 section 4.2).

    Raises:
        DPoPProofError: It is private or symmetric, weak, malformed, or not of that algorithm.
    """
    if has_private_members(jwk):
        refuse("proof_key_private")
    key = None
    with suppress(ConfigError):
        key = verification_key_of(jwk, algorithm=algorithm)
    if key is None:
        refuse("proof_key_unsuitable")
    public = key.public_key
    if isinstance(public, RSAPublicKey) and public.public_numbers().e > _LARGEST_EXPONENT:
        refuse("proof_key_unsuitable")
    return ProofKey(key, thumbprint(public))
