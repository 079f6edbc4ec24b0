"""What callers are handed: a session as it is now, and a new one with its sid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from asgi_guard.protocols import Principal
from asgi_guard.secret import Secret

__all__ = ["AUTH_METHOD", "IssuedSession", "Session", "SessionState"]

AUTH_METHOD = "session"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One live session, as it was when it was looked up.

    Args:
        session_id: SHA-256 of the sid in hexadecimal: names the session, opens nothing.
        user_id: Whose it is.
        tenant_id: The tenant it is in; None if none was chosen yet.
        roles: As given when it was made or renewed; the membership adds the tenant's own.
        scopes: OAuth scopes (RFC 6749 section 3.3).
        claims: Further facts for resolvers, JSON values.
        label: What the app wrote for a list of devices, e.g. ``"Firefox on Linux"``.
        created_at: Unix seconds of the login; a renewal keeps it.
        seen_at: Unix seconds of the last recorded use, at most *touch_every* ago.
        idle_at: Unix seconds at which it ends unless it is used before.
        expires_at: Unix seconds at which it ends in any case.
    """

    session_id: str
    user_id: str
    tenant_id: str | None
    roles: frozenset[str]
    scopes: frozenset[str]
    claims: Mapping[str, Any] = field(repr=False)
    label: str
    created_at: float
    seen_at: float
    idle_at: float
    expires_at: float

    def principal(self) -> Principal:
        """Return the principal that this session proves."""
        return Principal(
            user_id=self.user_id,
            tenant_id=self.tenant_id,
            roles=self.roles,
            scopes=self.scopes,
            auth_method=AUTH_METHOD,
            session_id=self.session_id,
            issued_at=self.created_at,
            expires_at=self.expires_at,
            claims=self.claims,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedSession:
    """A new session, or one under a new sid.

    Args:
        sid: For the cookie; it cannot be had again.
        session: What it opens.
    """

    sid: Secret
    session: Session


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionState:
    """What an app keeps with a session.

    Args:
        version: 0 if nothing was kept yet; one more at each `SessionService.persist`.
        data: A JSON object.
    """

    version: int = 0
    data: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False)
