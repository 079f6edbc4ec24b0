"""An app behind the tenancy middleware, with alice a member of one tenant."""

from __future__ import annotations

from typing import Any

from asgi_guard.protocols import ASGIApp, Receive, Scope, Send
from asgi_guard.tenancy import HeaderResolver, TenantContextMiddleware
from tests.support.tenancy_world import ACME, Directory, SignedIn

__all__ = ["ALICE", "MEMBERS", "guarded", "ok"]

ALICE = {"x-user": "alice", "x-tenant-id": ACME}
MEMBERS = Directory(("alice", ACME), roles={"member"})


async def ok(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer 200, with a request id of the app's own."""
    headers = [(b"x-request-id", b"made-by-the-app"), (b"x-kept", b"yes")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


def guarded(app: ASGIApp = ok, **settings: Any) -> ASGIApp:
    """Guard *app*, tenant by header, alice a member of ACME."""
    principal = settings.pop("principal", None)
    defaults: dict[str, Any] = {"resolver": HeaderResolver(), "memberships": MEMBERS}
    return SignedIn(TenantContextMiddleware(app, **{**defaults, **settings}), principal=principal)
