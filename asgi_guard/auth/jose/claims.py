"""Check the registered claims of a token whose signature holds (RFC 7519 section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from asgi_guard.auth.jose.policy import JwtPolicy
from asgi_guard.auth.jose.refusal import refuse

__all__ = ["LOGOUT_EVENT", "ClaimRules", "id_claim", "seconds_claim"]

_LONGEST_ID: Final = 255  # OpenID Connect Core 1.0, section 2: sub
_LATEST: Final = 2**53  # above it a double no longer counts seconds
LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
_REQUIRED: Final = {
    "id": ("iat", "sub"),  # OpenID Connect Core 1.0 section 2
    "refresh": ("fam", "iat", "jti", "sub"),
    "logout": ("events", "iat", "jti"),  # OpenID Connect Back-Channel Logout 1.0 section 2.4
}


class ClaimRules(NamedTuple):
    """What one kind of token must claim under one policy.

    ``lifetime`` is the most seconds from ``iat``, or from now if there is none, to ``exp``.
    """

    issuer: str
    audience: str
    skew: float
    lifetime: float
    required: tuple[str, ...]
    is_logout: bool

    @classmethod
    def of(cls, policy: JwtPolicy, token_type: str) -> ClaimRules:
        """Return the rules for tokens of *token_type*."""
        is_access = token_type == "access"  # noqa: S105 - a kind of token
        unlimited = is_access and policy.insecure_any_lifetime
        return cls(
            issuer=policy.issuer,
            audience=policy.audience,
            skew=policy.skew,
            lifetime=_LATEST if unlimited else policy.lifetime_of(token_type),
            required=policy.required_claims if is_access else _REQUIRED[token_type],
            is_logout=token_type == "logout",  # noqa: S105 - a kind of token
        )

    def check(self, claims: Mapping[str, Any], *, now: float) -> float:
        """Return when the token ends, in Unix seconds with the forgiven skew.

        Raises:
            AuthenticationError: It is not for us, not for now, lives too long, or lacks a claim.
        """
        self._check_parties(claims)
        end = self._check_times(claims, now)
        for name in self.required:
            if claims.get(name) is None:
                refuse(f"{name}_missing")
        id_claim(claims, "jti")
        if self.is_logout:
            _check_logout(claims)
        return end

    def _check_parties(self, claims: Mapping[str, Any]) -> None:
        if claims.get("iss") != self.issuer:
            refuse("issuer_unknown")
        audience = claims.get("aud")
        if audience == self.audience:
            return
        named = audience if isinstance(audience, list) else []
        if self.audience not in named or not all(isinstance(each, str) for each in named):
            refuse("audience_foreign")

    def _check_times(self, claims: Mapping[str, Any], now: float) -> float:
        end = seconds_claim(claims, "exp")
        if end is None:
            refuse("exp_missing")
        if not now < end + self.skew:
            refuse("token_expired")
        begin = seconds_claim(claims, "nbf")
        issued = seconds_claim(claims, "iat")
        if max(begin or 0, issued or 0) > now + self.skew:
            refuse("token_not_yet_valid")
        if end - (now + self.skew if issued is None else issued) > self.lifetime:
            refuse("lifetime_too_long")
        return end + self.skew


def seconds_claim(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a NumericDate (RFC 7519 section 2), or None if it is not there.

    Raises:
        AuthenticationError: It is no number (text and booleans are none), negative or too large.
    """
    value = claims.get(name)
    if value is None:
        return None
    if type(value) not in {int, float} or not 0 <= value < _LATEST:
        refuse(f"{name}_malformed")
    return float(value)


def id_claim(claims: Mapping[str, Any], name: str) -> str | None:
    """Return an id: text that can be stored and logged; an integer as its digits.

    Raises:
        AuthenticationError: It is something else, empty, or longer than 255 characters.
    """
    value = claims.get(name)
    if value is None:
        return None
    if type(value) is int:
        value = str(value) if 0 <= value < _LATEST else ""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_ID or not value.isprintable():
        refuse("id_claim_malformed")
    return value


def _check_logout(claims: Mapping[str, Any]) -> None:
    # Section 2.6: a nonce would make it an ID token, and without a subject it ends nothing.
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
        refuse("events_malformed")
    if "nonce" in claims:
        refuse("nonce_in_logout_token")
    if id_claim(claims, "sub") is None and id_claim(claims, "sid") is None:
        refuse("sub_missing")
