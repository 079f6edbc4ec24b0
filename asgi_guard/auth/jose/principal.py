"""Read the principal from verified claims."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from asgi_guard.auth.jose.claims import id_claim, seconds_claim
from asgi_guard.auth.jose.refusal import refuse
from asgi_guard.auth.jose.strict_json import frozen
from asgi_guard.protocols import Principal

__all__ = ["principal_of"]

_LONGEST_WORD: Final = 255


def principal_of(
    claims: Mapping[str, Any],
    *,
    tenant_claim: str,
    roles_claim: str,
    expires_at: float,
    details: Mapping[str, str] | None = None,
) -> Principal:
    """Return who *claims* speak for.

    Args:
        claims: Of an access token that was verified and checked.
        tenant_claim: Names the tenant the credential is bound to.
        roles_claim: A list of roles.
        expires_at: Unix seconds, with the forgiven skew.
        details: What events may say of the token.

    Raises:
        AuthenticationError: A claim has not the form of what it is read as.
    """
    return Principal(
        user_id=id_claim(claims, "sub") or refuse("sub_missing"),
        tenant_id=id_claim(claims, tenant_claim),
        roles=_words(claims, roles_claim),
        scopes=_scopes(claims),
        auth_method="bearer",
        session_id=id_claim(claims, "sid"),
        issued_at=seconds_claim(claims, "iat"),
        expires_at=expires_at,
        claims=frozen(dict(claims)),
        details=MappingProxyType(dict(details or {})),
    )


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
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_WORD and value.isprintable()
