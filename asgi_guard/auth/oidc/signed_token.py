"""Verify what a provider signed for this client: ID tokens and logout tokens.

The parts are those of `asgi_guard.auth.jose`; only the ``typ`` is read otherwise: OpenID Connect
asks for none in ID tokens, and providers of note write none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from asgi_guard.auth.jose.claims import ClaimRules
from asgi_guard.auth.jose.compact_jws import check_header, parse_compact_jws, token_bytes
from asgi_guard.auth.jose.key_source import KeySource
from asgi_guard.auth.jose.policy import JwtPolicy
from asgi_guard.auth.jose.refusal import refuse as refuse_token
from asgi_guard.auth.jose.strict_json import strict_object
from asgi_guard.auth.oidc.refusal import refuse
from asgi_guard.errors import AuthenticationError

__all__ = ["SignedClaims", "unproven_claims", "verified_claims"]

# What makes a token one of its kind are its claims (a nonce; an event): a logout token has no
# nonce and an ID token no event. So JWT or nothing will do beside the registered name.
_TYPES: Final = {
    "id": frozenset({"", "jwt"}),
    "logout": frozenset({"", "jwt", "logout+jwt"}),  # Back-Channel Logout 1.0 section 2.4
}


class SignedClaims(NamedTuple):
    """The claims of a token that holds, with the algorithm of its key."""

    claims: dict[str, Any]
    algorithm: str


async def verified_claims(
    token: str, *, kind: str, policy: JwtPolicy, keys: KeySource, now: float
) -> SignedClaims:
    """Return what *token* claims, once signature, issuer, audience and times hold.

    Args:
        token: The compact serialisation.
        kind: ``"id"`` or ``"logout"``.
        policy: Issuer, audience, algorithms.
        keys: The issuer's.
        now: Unix seconds.

    Raises:
        LoginRefusedError: It does not hold; the reason begins with ``id_token_`` or
            ``logout_token_``.
        UnavailableError: The keys cannot be had.
    """
    signed: SignedClaims | None = None
    reason = ""
    try:
        signed = await _verified(token, kind=kind, policy=policy, keys=keys, now=now)
    except AuthenticationError as refusal:
        reason = refusal.reason.removeprefix("token_")
    if signed is None:
        refuse(f"{kind}_token_{reason}")
    return signed


def unproven_claims(token: str) -> Mapping[str, Any]:
    """Return what *token* claims before anything of it is proven, to find whose keys to ask.

    Raises:
        LoginRefusedError: It is no token.
    """
    claims: Mapping[str, Any] | None = None
    try:
        claims = strict_object(parse_compact_jws(token_bytes(token)).payload)
    except AuthenticationError:
        claims = None
    if claims is None:
        refuse("logout_token_malformed")
    return claims


async def _verified(
    token: str, *, kind: str, policy: JwtPolicy, keys: KeySource, now: float
) -> SignedClaims:
    jws = parse_compact_jws(token_bytes(token), longest=policy.longest_token)
    named = jws.header.get("alg")
    algorithm = "EdDSA" if named == "Ed25519" else named
    if not isinstance(algorithm, str) or algorithm not in policy.algorithms:
        refuse_token("algorithm_not_accepted")
    kid = check_header(jws.header)
    typ = jws.header.get("typ", "")
    if not isinstance(typ, str) or typ.lower().removeprefix("application/") not in _TYPES[kind]:
        refuse_token("type_not_accepted")
    key = keys.find(kid, algorithm)
    if key is None:
        await keys.look_again(kid)
        key = keys.find(kid, algorithm)
    if key is None:
        refuse_token("key_unknown")
    if not key.takes(algorithm):
        refuse_token("algorithm_not_accepted")
    if not key.verify(jws.signing_input, jws.signature):
        refuse_token("signature_invalid")
    claims = jws.claims()
    ClaimRules.of(policy, kind).check(claims, now=now)
    return SignedClaims(claims, algorithm)
