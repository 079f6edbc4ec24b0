"""Two tenants, their users, a directory of memberships, and a clock that tests move."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from asgi_guard._internal.principal import SCOPE_KEY
from asgi_guard.protocols import ASGIApp, Principal, Receive, Scope, Send
from asgi_guard.tenancy import Membership, Status, UserExecutionContext, current_context

__all__ = ["ACME", "GLOBEX", "Directory", "MovedClock", "SignedIn", "context", "who"]

ACME = str(uuid.UUID(int=0xACE))
GLOBEX = str(uuid.UUID(int=0x610BE))


class MovedClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class Directory:
    """Memberships kept in a dict, which counts its look-ups."""

    def __init__(self, *members: tuple[str, str], roles: Iterable[str] = ()) -> None:
        self.members = {pair: Membership(roles=roles) for pair in members}
        self.asked: list[tuple[str, str]] = []

    def put(
        self,
        user_id: str,
        tenant_id: str,
        *,
        roles: Iterable[str] = (),
        member: Status = Status.ACTIVE,
        tenant: Status = Status.ACTIVE,
    ) -> None:
        self.members[user_id, tenant_id] = Membership(
            roles=roles, member_status=member, tenant_status=tenant
        )

    async def lookup(self, user_id: str, tenant_id: str) -> Membership | None:
        self.asked.append((user_id, tenant_id))
        return self.members.get((user_id, tenant_id))


class SignedIn:
    """Stands where the authentication middleware would: puts a principal into the scope.

    The header ``x-user`` names the user, ``x-token-tenant`` the tenant of the credential.
    """

    def __init__(self, app: ASGIApp, *, principal: Principal | None = None) -> None:
        self.app = app
        self.principal = principal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        principal = self.principal or _from_headers(dict(scope["headers"]))
        await self.app({**scope, SCOPE_KEY: principal}, receive, send)


def _from_headers(headers: dict[bytes, bytes]) -> Principal | None:
    user = headers.get(b"x-user")
    if user is None:
        return None
    tenant = headers.get(b"x-token-tenant")
    return Principal(user_id=user.decode(), tenant_id=tenant.decode() if tenant else None)


def context(
    tenant_id: str = ACME,
    user_id: str = "alice",
    *,
    operation: str = "",
    request_id: str | None = None,
    roles: Iterable[str] = (),
    scopes: Iterable[str] = (),
    expires_at: float | None = None,
) -> UserExecutionContext:
    """Build a context with what a test cares about."""
    return UserExecutionContext(
        tenant_id=tenant_id,
        user_id=user_id,
        operation=operation,
        request_id=request_id,
        roles=roles,
        scopes=scopes,
        expires_at=expires_at,
    )


def who() -> str:
    """Say who this code runs for, or ``none``."""
    current = current_context()
    return "none" if current is None else f"{current.tenant_id} {current.user_id}"
