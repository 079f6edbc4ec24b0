"""Identity: which principal the credential of a connection proves.

Protects against the credential that only looks like one: forged, expired, sent twice, made for
somebody else, or signed with what the verifier took for another kind of key.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from asgi_guard.auth.challenges import Challenger
from asgi_guard.auth.middleware import AuthenticationMiddleware

if TYPE_CHECKING:
    from asgi_guard.auth.authenticator import BearerAuthenticator, BearerJWTAuthenticator
    from asgi_guard.auth.throttle import Throttle, ThrottleLimits
    from asgi_guard.auth.throttled import ThrottledAuthenticator

__all__ = [
    "AuthenticationMiddleware",
    "BearerAuthenticator",
    "BearerJWTAuthenticator",
    "Challenger",
    "Throttle",
    "ThrottleLimits",
    "ThrottledAuthenticator",
]

_LATER: Final = {
    "BearerAuthenticator": "authenticator",
    "BearerJWTAuthenticator": "authenticator",
    "Throttle": "throttle",
    "ThrottleLimits": "throttle",
    "ThrottledAuthenticator": "throttled",
}


def __getattr__(name: str) -> Any:
    """Load PyJWT and cryptography only for those who verify tokens (PEP 562)."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"asgi_guard.auth.{_LATER[name]}"), name)
