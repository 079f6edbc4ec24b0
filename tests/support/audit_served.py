"""The sub-app in a host that stands for a guarded one: a context for each bearer name."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.applications import Starlette
from starlette.routing import Mount

from asgi_guard._internal.asgi import single_header
from asgi_guard.audit_log import AuditLog, audit_app
from asgi_guard.errors import AuthenticationError
from asgi_guard.protocols import ASGIApp, Principal, Receive, Scope, Send
from asgi_guard.settings import GuardSettings
from asgi_guard.tenancy import ClaimResolver, UserExecutionContext, use_context
from asgi_guard.tenancy.tenant_id import SLUG

__all__ = ["OPERATOR", "AsOperator", "guarded_settings", "hosted"]

OPERATOR = {"Authorization": "Bearer operator"}
"""The one credential that `guarded_settings` knows: both scopes, tenant ``acme``."""


class AsOperator:
    """Run each request of *app* for a tenant's operator, as the layers outside would."""

    def __init__(self, app: ASGIApp, *, tenant: str, scopes: Iterable[str]) -> None:
        self._app = app
        self._context = UserExecutionContext(
            tenant_id=tenant, user_id=f"operator-of-{tenant}", scopes=frozenset(scopes)
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with use_context(self._context):
            await self._app(scope, receive, send)


class _Operators:
    async def authenticate(self, scope: Scope) -> Principal | None:
        value = single_header(scope, b"authorization")
        if value is None:
            return None
        if value != OPERATOR["Authorization"].encode():
            raise AuthenticationError("unknown_token")
        scopes = frozenset({"audit:read", "audit:write"})
        return Principal(user_id="operator", tenant_id="acme", scopes=scopes)


def guarded_settings() -> GuardSettings:
    """Return the settings of a guard that tells who is an operator by the credential."""
    return GuardSettings(
        environment="test",
        authenticators=[_Operators()],
        resolver=ClaimResolver(),
        tenant_shape=SLUG,
        public_paths=["/openapi.json"],
    )


def hosted(audit: AuditLog) -> Starlette:
    """Mount the sub-app the way an app does."""
    return Starlette(routes=[Mount("/audit", audit_app(audit))])
