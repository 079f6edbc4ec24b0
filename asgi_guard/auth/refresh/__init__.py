"""Refresh tokens: a session of weeks on access tokens of minutes, rotated at each use.

Protects against the refresh token that was copied: each one works once, and when an old one comes
back, its whole family ends, for nobody can tell which of the two was the thief (RFC 9700 section
4.14.2, OAuth 2.0 Security Best Current Practice).
"""

from __future__ import annotations

from asgi_guard.auth.refresh.grant import RefreshGrant
from asgi_guard.auth.refresh.tokens import RefreshTokens

__all__ = ["RefreshGrant", "RefreshTokens"]
