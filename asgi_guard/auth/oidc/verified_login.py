"""What a login proved, and the tokens that came with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from asgi_guard.secret import Secret

__all__ = ["TokenSet", "VerifiedLogin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedLogin:
    """Who came back from the provider, as its ID token says.

    Args:
        tenant_id: At which tenant; None in an app without tenants. That the user is a member is
            not proven by it.
        provider: Name of the provider.
        issuer: With *subject* the one stable name of the account (Core 1.0 section 5.7); an
            address of mail is none.
        subject: The ``sub``.
        user_id: The app's own name of the user, once there is a session: for ``on_tokens``.
        sid: The provider's own session, if it names one.
        auth_time: Unix seconds at which the user was really there, if it says so.
        acr: The authentication context class, if it says so.
        amr: Methods of authentication, if it says so.
        claims: Of the ID token, read-only.
        userinfo: Of the UserInfo endpoint, read-only; empty if it was not asked.
    """

    tenant_id: str | None
    provider: str
    issuer: str
    subject: str
    user_id: str | None = None
    sid: str | None = None
    auth_time: float | None = None
    acr: str | None = None
    amr: tuple[str, ...] = ()
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)
    userinfo: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False)

    def with_userinfo(self, claims: Mapping[str, Any]) -> VerifiedLogin:
        """Return the same with the claims of the UserInfo endpoint."""
        return replace(self, userinfo=claims)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSet:
    """The tokens of one login (RFC 6749 section 5.1, Core 1.0 section 3.1.3.3).

    Args:
        access_token: For the provider's own interfaces.
        id_token: As it came; it is verified.
        refresh_token: If the provider gave one.
        expires_at: Unix seconds at which the access token ends, if the provider says so.
        scopes: What was granted.
    """

    access_token: Secret
    id_token: Secret
    refresh_token: Secret | None = None
    expires_at: float | None = None
    scopes: frozenset[str] = frozenset()
