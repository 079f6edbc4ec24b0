"""The sub-app in a host that stands for a guarded one: a context for each bearer name."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.applications import Starlette
from starlette.routing import Mount

from asgi_guard.audit_log import AuditLog, audit_app
from asgi_guard.protocols import ASGIApp, Receive, Scope, Send
from asgi_guard.tenancy import UserExecutionContext, use_context

__all__ = ["AsOperator", "hosted"]


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


def hosted(audit: AuditLog) -> Starlette:
    """Mount the sub-app the way an app does."""
    return Starlette(routes=[Mount("/audit", audit_app(audit))])
