"""Family: all refresh tokens that descend from one login, as one small record. Pure.

Only two of its tokens are known by name: the newest, and the one it came from. Whatever else its
issuer has signed is older, and so was used before.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Literal, Self

from asgi_guard.errors import UnavailableError

__all__ = ["Family", "Standing"]

Standing = Literal["current", "lost_reply", "reused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What the store keeps of one login; it holds no token.

    Args:
        subject: Whose it is.
        client_id: The OAuth client it was issued to.
        tenant_id: Tenant of the login.
        session_id: Server-side session of the login.
        scopes: Granted at the login, sorted.
        jkt: Thumbprint of the key it is bound to.
        ends_at: Unix seconds after which no token of it is accepted, however often it rotated.
        jti: Of the newest token, with its times, so that a lost reply can be made again.
        issued_at: Unix seconds.
        expires_at: Unix seconds.
        previous: ``jti`` of the token before it; empty if there was none.
        user_mark: The user's mark when it began: a newer one ends it.
        revoked: Why it ended before its time; empty while it has not.
    """

    subject: str
    client_id: str
    tenant_id: str | None
    session_id: str | None
    scopes: tuple[str, ...]
    jkt: str | None
    ends_at: float
    jti: str
    issued_at: float
    expires_at: int
    previous: str = ""
    user_mark: str = ""
    revoked: str = ""

    def standing(self, jti: str, *, now: float, grace: float) -> Standing:
        """Tell what a token of this family is, by its id.

        The token before the newest is taken for one whose reply was lost, for *grace* seconds
        after it was rotated. Once the newest was used there was no lost reply, and no grace.
        """
        if jti == self.jti:
            return "current"
        if jti == self.previous and now < self.issued_at + grace:
            return "lost_reply"
        return "reused"

    def rotated(self, jti: str, *, now: float, lifetime: int) -> Self:
        """Return the family with a next token, which never outlives the family."""
        return replace(
            self,
            previous=self.jti,
            jti=jti,
            issued_at=now,
            expires_at=int(min(now + lifetime, self.ends_at)),
        )

    def ended(self, reason: str) -> Self:
        """Return the family without a token that works; it never comes back."""
        return replace(self, jti="", previous="", revoked=reason)

    def to_bytes(self) -> bytes:
        """Return it as one spelling of JSON: stores compare bytes."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, stored: bytes) -> Self:
        """Return what `to_bytes` wrote.

        Raises:
            UnavailableError: It is something else; nothing is decided by it.
        """
        members: object = None
        try:
            members = json.loads(stored)
            if isinstance(members, dict):
                return cls(**{**members, "scopes": tuple(members["scopes"])})
        except (ValueError, TypeError, KeyError):
            members = None
        raise UnavailableError("refresh_record_malformed")
