"""VerifiedToken: a token that held, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from asgi_guard.protocols import Principal

__all__ = ["VerifiedToken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedToken:
    """What a verifier found; it holds no part of the token's text.

    Args:
        claims: Read-only at every level: all requests with this token share them.
        token_type: ``"access"``, ``"id"``, ``"refresh"`` or ``"logout"``.
        algorithm: As the token names it.
        kid: Of the key that signed it; None if the token names none.
        expires_at: Unix seconds, with the forgiven skew.
        principal: Who an access token speaks for; None for the other types.
        details: What an event may say of it: ``kid`` and ``jti_sha256``.
    """

    claims: Mapping[str, Any] = field(repr=False)
    token_type: str
    algorithm: str
    kid: str | None
    expires_at: float
    principal: Principal | None = field(default=None, repr=False)
    details: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_bound(self) -> bool:
        """Whether it is bound to a key (``cnf``, RFC 7800), and so is no bearer token."""
        return self.claims.get("cnf") is not None
