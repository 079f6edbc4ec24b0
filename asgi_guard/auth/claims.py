"""Check the claims of a token whose signature holds, and read the principal from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from asgi_guard.auth.compact_jws import refuse
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Principal

__all__ = ["ClaimRules"]

_LONGEST_ID: Final = 255  # OpenID Connect Core 1.0, section 2: sub
_LATEST: Final = 2**53  # above it a double no longer counts seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRules:
    """What a token must claim (RFC 7519 section 4.1), and where its principal is.

    Args:
        issuer: The one accepted ``iss``.
        audience: Who we are; ``aud`` must name it.
        leeway: Seconds of clock skew that are forgiven.
        tenant_claim: Names the tenant the credential is bound to.
        roles_claim: A list of roles.

    Raises:
        ConfigError: A name is empty, or the leeway negative.
    """

    issuer: str
    audience: str
    leeway: float = 30.0
    tenant_claim: str = "tenant_id"
    roles_claim: str = "roles"

    def __post_init__(self) -> None:
        """Refuse rules that would accept anyone's token."""
        for field in ("issuer", "audience", "tenant_claim", "roles_claim"):
            if not isinstance(getattr(self, field), str) or not getattr(self, field):
                raise ConfigError(field, "is not a non-empty string", "Name it.")
        if not 0 <= self.leeway <= 300:  # noqa: PLR2004 - five minutes
            raise ConfigError("leeway", f"is {self.leeway!r}", "Pass 0 to 300 seconds.")

    def principal(self, claims: dict[str, Any], *, now: float) -> Principal:
        """Return who *claims* speak for at *now*.

        Raises:
            AuthenticationError: They are not for us, not for now, or not of the right form.
        """
        self._check_parties(claims)
        expires_at = self._check_times(claims, now)
        if claims.get("cnf") is not None:
            refuse("token_bound_to_a_key")  # RFC 9449: it is no bearer token
        return Principal(
            user_id=_id(claims, "sub") or refuse("sub_missing"),
            tenant_id=_id(claims, self.tenant_claim),
            roles=_words(claims, self.roles_claim),
            scopes=_scopes(claims),
            auth_method="bearer",
            session_id=_id(claims, "sid"),
            issued_at=_seconds(claims, "iat"),
            expires_at=expires_at,
            claims=MappingProxyType(claims),
        )

    def _check_parties(self, claims: Mapping[str, Any]) -> None:
        if claims.get("iss") != self.issuer:
            refuse("issuer_unknown")
        audience = claims.get("aud")
        if audience != self.audience and not (
            isinstance(audience, list) and self.audience in audience
        ):
            refuse("audience_foreign")

    def _check_times(self, claims: Mapping[str, Any], now: float) -> float:
        """Return when the token ends, the forgiven skew included."""
        end = _seconds(claims, "exp")
        if end is None:
            refuse("exp_missing")
        if not now < end + self.leeway:
            refuse("token_expired")
        for name in ("nbf", "iat"):
            begin = _seconds(claims, name)
            if begin is not None and begin > now + self.leeway:
                refuse("token_not_yet_valid")
        return end + self.leeway


def _seconds(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if type(value) not in {int, float} or not 0 <= value < _LATEST:
        refuse(f"{name}_malformed")
    return float(value)


def _id(claims: Mapping[str, Any], name: str) -> str | None:
    """Return an id: text that can be stored and logged; an integer as its digits."""
    value = claims.get(name)
    if value is None:
        return None
    if type(value) is int:
        value = str(value) if 0 <= value < _LATEST else ""
    if not isinstance(value, str) or not value or len(value) > _LONGEST_ID:
        refuse("id_claim_malformed")
    if not value.isprintable():
        refuse("id_claim_malformed")
    return value


def _words(claims: Mapping[str, Any], name: str) -> frozenset[str]:
    value = claims.get(name)
    if value is None:
        return frozenset()
    if not isinstance(value, list) or not all(_is_word(each) for each in value):
        refuse("roles_malformed")
    return frozenset(value)


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    value = claims.get("scope")  # RFC 9068 section 2.2.3: separated by spaces
    if value is None:
        return frozenset()
    if not isinstance(value, str):
        refuse("scope_malformed")
    words = value.split(" ") if value else []
    if not all(_is_word(each) for each in words):
        refuse("scope_malformed")
    return frozenset(words)


def _is_word(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_ID and value.isprintable()
