"""Identity: which principal the credential of a connection proves.

Protects against the credential that only looks like one: forged, expired, sent twice, made for
somebody else, or signed with what the verifier took for another kind of key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgi_guard.auth.middleware import AuthenticationMiddleware

if TYPE_CHECKING:
    from asgi_guard.auth.authenticator import BearerAuthenticator, BearerJWTAuthenticator

__all__ = ["AuthenticationMiddleware", "BearerAuthenticator", "BearerJWTAuthenticator"]


def __getattr__(name: str) -> Any:
    """Load PyJWT and cryptography only for those who verify tokens (PEP 562)."""
    if name not in {"BearerAuthenticator", "BearerJWTAuthenticator"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from asgi_guard.auth import authenticator  # noqa: PLC0415 - the point

    return getattr(authenticator, name)
