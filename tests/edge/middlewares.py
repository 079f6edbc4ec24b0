"""Every middleware of the package, built as a user would, ready for the pass-through table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgi_guard._internal.principal import SCOPE_KEY
from asgi_guard.auth import AuthenticationMiddleware
from asgi_guard.cors import CORSAllowlistMiddleware, CORSPolicy
from asgi_guard.cross_origin import CrossOriginMiddleware
from asgi_guard.protocols import ASGIApp, Principal, Scope
from asgi_guard.security_headers import SecurityHeaders, SecurityHeadersMiddleware
from asgi_guard.tenancy import ClaimResolver, TenantContextMiddleware

__all__ = ["MIDDLEWARES"]

TENANT = "0b6ff6f4-6f54-4a0c-9c6f-0123456789ab"


def tenancy(app: ASGIApp) -> ASGIApp:
    """Stand inside a layer that has verified a principal."""
    guarded = TenantContextMiddleware(app, resolver=ClaimResolver())

    async def authenticated(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            scope[SCOPE_KEY] = Principal(user_id="u1", tenant_id=TENANT)
        await guarded(scope, receive, send)

    return authenticated


def cors(app: ASGIApp) -> ASGIApp:
    """Let one friend read."""
    return CORSAllowlistMiddleware(app, policy=CORSPolicy(allow_origins=["https://app.example"]))


def headers(app: ASGIApp) -> ASGIApp:
    """Send the full set for pages."""
    return SecurityHeadersMiddleware(app, policy=SecurityHeaders.html())


class NoCredential:
    """Recognises nothing, so every connection passes on as nobody."""

    async def authenticate(self, _scope: Scope) -> Principal | None:
        return None


def authentication(app: ASGIApp) -> ASGIApp:
    """Ask one authenticator."""
    return AuthenticationMiddleware(app, authenticators=[NoCredential()])


def everything(app: ASGIApp) -> ASGIApp:
    """Stack them all in the order of `Guard`."""
    return headers(cors(CrossOriginMiddleware(authentication(tenancy(app)))))


MIDDLEWARES: dict[str, Callable[[ASGIApp], ASGIApp]] = {
    "authentication": authentication,
    "cors": cors,
    "cross_origin": CrossOriginMiddleware,
    "everything": everything,
    "security_headers": headers,
    "tenancy": tenancy,
}
