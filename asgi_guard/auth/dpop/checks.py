"""The checks of RFC 9449 section 4.3, as a table; its numbers are those of the section.

The order is the table's, not the section's: what is cheap comes first, so that a flood of rubbish
costs no signature. All of them look and none of them writes. The one that writes, the memory of
used proofs, comes after all others and after the access token (`DPoPValidator`), so that
nobody's ``jti`` is used up by a proof that was not good.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, NamedTuple

from asgi_guard._internal.constant_time import equal
from asgi_guard.auth.dpop.htu import canonical_uri
from asgi_guard.auth.dpop.nonces import DPoPNonces
from asgi_guard.auth.dpop.policy import DPoPPolicy
from asgi_guard.auth.dpop.proof import DPoPProof, ProofKey
from asgi_guard.auth.dpop.refusal import refuse
from asgi_guard.auth.jose.base64url import b64url_encode
from asgi_guard.auth.jose.compact_jws import CompactJWS, check_header, parse_compact_jws
from asgi_guard.errors import AuthenticationError, DPoPNonceError

__all__ = ["CHECKS", "Check", "Examination"]

_TYPE: Final = "dpop+jwt"
_NUMBERS: Final = frozenset({int, float})  # bool is none
_LATEST: Final = 2**53  # above it a double no longer counts seconds
_REFERENCES: Final = ("jku", "x5u", "x5c")  # a proof's key is in ``jwk`` and nowhere else
_NO_JWS: Final = CompactJWS({}, b"", b"", b"")


@dataclass(slots=True, kw_only=True)
class Examination:
    """One proof under examination: what it is held against, and what is known of it so far.

    Args:
        fields: The values of all ``DPoP`` header fields.
        policy: Which proofs are taken.
        method: Of the request, as it was sent.
        uri: Of the request, canonical; None if nobody can say.
        now: Unix seconds.
        read_key: Reads the header's ``jwk`` for an algorithm, as `proof_key` does.
        nonces: If server-provided ones are in use.
        access_token: That the request presents, if it presents one.
        bound_to: Thumbprint of the key that the token, code or grant is bound to, if it is.
        jws: From here on: what the checks found.
        claims: Of the proof.
        key: Of the proof.
    """

    fields: Sequence[bytes]
    policy: DPoPPolicy
    method: str
    uri: str | None
    now: float
    read_key: Callable[..., ProofKey]
    nonces: DPoPNonces | None = None
    access_token: bytes | None = None
    bound_to: str | None = None
    jws: CompactJWS = _NO_JWS
    claims: Mapping[str, Any] = field(default_factory=dict)
    key: ProofKey | None = None

    def run(self) -> DPoPProof:
        """Make every check of the table, in its order.

        Raises:
            DPoPProofError: One of them fails.
            DPoPNonceError: All it lacks so far is a nonce.
        """
        for check in CHECKS:
            check.demand(self)
        if self.key is None:
            refuse("proof_key_missing")
        return DPoPProof(
            thumbprint=self.key.thumbprint,
            jti=self.claims["jti"],
            algorithm=self.jws.header["alg"],
            issued_at=float(self.claims["iat"]),
            nonce=None if self.nonces is None else self.claims.get("nonce"),
        )


def _one_field(proof: Examination) -> None:
    """There is one ``DPoP`` header field."""
    if not proof.fields:
        refuse("proof_missing")
    if len(proof.fields) != 1:
        refuse("proof_duplicated")


def _well_formed(proof: Examination) -> None:
    """It is a single JWT: a compact JWS with a strict JSON object on either side."""
    reason = ""
    try:
        proof.jws = parse_compact_jws(proof.fields[0], longest=proof.policy.longest_proof)
        check_header(proof.jws.header, allow_embedded_key=True)
        proof.claims = proof.jws.claims()
    except AuthenticationError as refusal:
        reason = refusal.reason.replace("token_", "proof_")
    if reason:
        refuse(reason)


def _typed(proof: Examination) -> None:
    """``typ`` is ``dpop+jwt``, to the letter."""
    if proof.jws.header.get("typ") != _TYPE:
        refuse("proof_type_not_accepted")


def _algorithm(proof: Examination) -> None:
    """``alg`` is an asymmetric algorithm on our list; ``none`` is on no list."""
    if not proof.policy.takes(proof.jws.header.get("alg")):
        refuse("proof_algorithm_not_accepted")


def _public_key(proof: Examination) -> None:
    """``jwk`` is a public key, strong enough and of the algorithm's kind, and it alone counts."""
    jwk = proof.jws.header.get("jwk")
    if not isinstance(jwk, dict):
        refuse("proof_key_missing")
    if not proof.jws.header.keys().isdisjoint(_REFERENCES):
        refuse("proof_key_by_reference")
    proof.key = proof.read_key(jwk, algorithm=proof.jws.header["alg"])


def _required_claims(proof: Examination) -> None:
    """``jti``, ``htm``, ``htu`` and ``iat`` are there, each of its type and within its bounds."""
    claims = proof.claims
    for name in ("jti", "htm", "htu"):
        value = claims.get(name)
        if not isinstance(value, str) or not value:
            refuse(f"proof_{name}_malformed")
    if len(claims["jti"]) > proof.policy.longest_jti or not claims["jti"].isprintable():
        refuse("proof_jti_malformed")
    issued: Any = claims.get("iat")
    if type(issued) not in _NUMBERS or not 0 <= issued < _LATEST:
        refuse("proof_iat_malformed")


def _method(proof: Examination) -> None:
    """``htm`` is the method of this request; methods are case-sensitive (RFC 9110 section 9.1)."""
    if proof.claims.get("htm") != proof.method:
        refuse("proof_htm_mismatch")


def _target(proof: Examination) -> None:
    """``htu`` is the URI of this request, without query and fragment, after normalisation."""
    if proof.uri is None:
        refuse("request_uri_unknown")
    if canonical_uri(proof.claims.get("htu", "")) != proof.uri:
        refuse("proof_htu_mismatch")


def _timely(proof: Examination) -> None:
    """It was made a short while ago: ``iat`` is within ``max_age``, give or take ``skew``."""
    issued, policy = proof.claims.get("iat", 0), proof.policy
    if issued > proof.now + policy.skew:
        refuse("proof_from_the_future")
    if issued < proof.now - policy.max_age - policy.skew:
        refuse("proof_expired")
    # Not of DPoP; but who writes them means them (RFC 7519 sections 4.1.4 and 4.1.5).
    ends, begins = proof.claims.get("exp", _LATEST), proof.claims.get("nbf", 0)
    if type(ends) not in _NUMBERS or ends + policy.skew <= proof.now:
        refuse("proof_expired")
    if type(begins) not in _NUMBERS or begins > proof.now + policy.skew:
        refuse("proof_from_the_future")


def _nonce(proof: Examination) -> None:
    """If nonces are in use, it holds one that we provided and that has not expired."""
    if proof.nonces is None:
        return
    offered = proof.claims.get("nonce")
    if isinstance(offered, str) and proof.nonces.accepts(offered):
        return
    reason = "proof_nonce_missing" if offered is None else "proof_nonce_stale"
    raise DPoPNonceError(reason, headers=((b"dpop-nonce", proof.nonces.current().encode()),))


def _token_hash(proof: Examination) -> None:
    """With an access token, ``ath`` is the hash of that token."""
    if proof.access_token is None:
        return
    stated = proof.claims.get("ath")
    if not isinstance(stated, str):
        refuse("proof_ath_missing")
    expected = b64url_encode(sha256(proof.access_token).digest())
    if not equal(stated.encode("utf-8", "surrogatepass"), expected):
        refuse("proof_ath_mismatch")


def _signature(proof: Examination) -> None:
    """The signature verifies with the key in ``jwk``."""
    key = proof.key
    if key is None or not key.key.verify(proof.jws.signing_input, proof.jws.signature):
        refuse("proof_signature_invalid")


def _bound_key(proof: Examination) -> None:
    """The key is the one that the access token is bound to (``cnf.jkt``, section 6.1)."""
    if proof.bound_to is None:
        return
    shown = "" if proof.key is None else proof.key.thumbprint
    if not equal(shown.encode(), proof.bound_to.encode("utf-8", "surrogatepass")):
        refuse("proof_key_mismatch")


class Check(NamedTuple):
    """One check: where RFC 9449 asks for it, and how it is made."""

    clause: str
    demand: Callable[[Examination], None]


CHECKS: Final[tuple[Check, ...]] = (
    Check("4.3-1", _one_field),
    Check("4.3-2", _well_formed),
    Check("4.3-4", _typed),
    Check("4.3-5", _algorithm),
    Check("4.3-7", _public_key),
    Check("4.3-3", _required_claims),
    Check("4.3-8", _method),
    Check("4.3-9", _target),
    Check("4.3-11", _timely),
    Check("4.3-10", _nonce),
    Check("4.3-12a", _token_hash),
    Check("4.3-12b", _bound_key),
    Check("4.3-6", _signature),
)
"""Every check but the one of used proofs (section 11.1), which is the last of all."""
