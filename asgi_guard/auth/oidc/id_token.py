"""Check an ID token in full (OpenID Connect Core 1.0 section 3.1.3.7)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256, sha384, sha512
from typing import Any, Final

from asgi_guard._internal.constant_time import equal
from asgi_guard.auth.jose.base64url import b64url_encode
from asgi_guard.auth.jose.key_source import KeySource
from asgi_guard.auth.jose.strict_json import frozen
from asgi_guard.auth.oidc.provider import OIDCProvider
from asgi_guard.auth.oidc.refusal import refuse
from asgi_guard.auth.oidc.signed_token import SignedClaims, verified_claims
from asgi_guard.auth.oidc.verified_login import TokenSet, VerifiedLogin

__all__ = ["plain_subject", "session_id_claim", "verified_login"]

_HASHES: Final = {"256": sha256, "384": sha384, "512": sha512, "DSA": sha512}  # EdDSA: Ed25519
_SUBJECT: Final = re.compile(r"[\x20-\x7e]{1,255}")  # section 2: ASCII, at most 255
_LATEST: Final = 2**53


async def verified_login(
    tokens: TokenSet,
    *,
    code: str,
    nonce: str,
    provider: OIDCProvider,
    tenant_id: str | None,
    keys: KeySource,
    now: float,
) -> VerifiedLogin:
    """Return what the ID token among *tokens* proves.

    Args:
        tokens: From the token endpoint.
        code: That they came for (``c_hash``).
        nonce: Of the authorization request.
        provider: Who must have signed it, for which client.
        tenant_id: At which tenant the login began.
        keys: The provider's.
        now: Unix seconds.

    Raises:
        LoginRefusedError: A check failed; the reason begins with ``id_token_``.
        UnavailableError: The keys cannot be had.
    """
    signed = await verified_claims(
        tokens.id_token.reveal(), kind="id", policy=provider.policy, keys=keys, now=now
    )
    claims = signed.claims
    _check_parties(claims, provider)
    sent = claims.get("nonce")
    if not isinstance(sent, str):
        refuse("id_token_nonce_missing")
    if not equal(sha256(sent.encode(errors="replace")).digest(), sha256(nonce.encode()).digest()):
        refuse("id_token_nonce_mismatch")
    _check_hash(signed, "at_hash", tokens.access_token.reveal())
    _check_hash(signed, "c_hash", code)
    _check_freshness(claims, provider, now)
    if "events" in claims:
        refuse("id_token_type_not_accepted")  # a logout token, which has its own door
    return VerifiedLogin(
        tenant_id=tenant_id,
        provider=provider.name,
        issuer=provider.issuer,
        subject=plain_subject(claims, kind="id"),
        sid=session_id_claim(claims, kind="id"),
        auth_time=_seconds(claims, "auth_time"),
        acr=claims.get("acr") if isinstance(claims.get("acr"), str) else None,
        amr=_words(claims.get("amr")),
        claims=frozen(claims),
    )


def plain_subject(claims: Mapping[str, Any], *, kind: str) -> str:
    """Return the ``sub``.

    Raises:
        LoginRefusedError: It is no text of 1 to 255 ASCII characters.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
        refuse(f"{kind}_token_sub_malformed")
    return subject


def session_id_claim(claims: Mapping[str, Any], *, kind: str) -> str | None:
    """Return the ``sid`` (Back-Channel Logout 1.0 section 2.1), or None.

    Raises:
        LoginRefusedError: It is there, and no short text.
    """
    sid = claims.get("sid")
    if sid is None:
        return None
    if not isinstance(sid, str) or not _SUBJECT.fullmatch(sid):
        refuse(f"{kind}_token_sid_malformed")
    return sid


def _check_parties(claims: Mapping[str, Any], provider: OIDCProvider) -> None:
    """Steps 3 to 5: every audience is trusted, and the one that asked is this client."""
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    others = {each for each in named if each != provider.client_id}
    if not others <= provider.trusted_audiences:
        refuse("id_token_audience_untrusted")
    if "azp" not in claims and len(named) > 1:
        refuse("id_token_azp_missing")
    if "azp" in claims and claims["azp"] != provider.client_id:
        refuse("id_token_azp_foreign")


def _check_hash(signed: SignedClaims, name: str, value: str) -> None:
    """Section 3.1.3.8: the left half of the hash that belongs to the signature's algorithm."""
    claimed = signed.claims.get(name)
    if claimed is None and name not in signed.claims:
        return  # optional in the code flow
    digest = _HASHES[signed.algorithm[-3:]](value.encode()).digest()
    expected = b64url_encode(digest[: len(digest) // 2])
    if not isinstance(claimed, str) or not equal(claimed.encode(errors="replace"), expected):
        refuse(f"id_token_{name}_mismatch")


def _check_freshness(claims: Mapping[str, Any], provider: OIDCProvider, now: float) -> None:
    """Steps 12 and 13: what was asked for is checked, since a browser can change the request."""
    if provider.acr_values and claims.get("acr") not in provider.acr_values:
        refuse("id_token_acr_not_accepted")
    if provider.max_age is None:
        return
    since = _seconds(claims, "auth_time")
    if since is None:
        refuse("id_token_auth_time_missing")
    if now - since > provider.max_age + provider.skew:
        refuse("id_token_auth_time_too_old")


def _seconds(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if type(value) not in {int, float} or not 0 <= value < _LATEST:
        refuse(f"id_token_{name}_malformed")
    return float(value)


def _words(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(each for each in value if isinstance(each, str))
