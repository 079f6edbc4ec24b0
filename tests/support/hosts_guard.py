"""One guard for every host under test: two tenants, a token that says who is asking."""

from __future__ import annotations

from typing import Any

from asgi_guard._internal.asgi import single_header
from asgi_guard.errors import AuthenticationError
from asgi_guard.protocols import Principal, Scope
from asgi_guard.settings import GuardSettings
from asgi_guard.tenancy import HeaderResolver, Membership

__all__ = ["ACME", "GLOBEX", "KnownTokens", "Rosters", "guard_settings", "token"]

ACME = "0b6ff6f4-6f54-4a0c-9c6f-0000000000aa"
GLOBEX = "0b6ff6f4-6f54-4a0c-9c6f-0000000000bb"


class KnownTokens:
    """An `Authenticator` whose tokens are spelled ``user@tenant``, or ``user`` for no tenant."""

    async def authenticate(self, scope: Scope) -> Principal | None:
        value = single_header(scope, b"authorization")
        if value is None:
            return None
        kind, _, name = value.decode().partition(" ")
        user, _, tenant = name.partition("@")
        if kind != "Bearer" or not user.isalnum():
            raise AuthenticationError("unknown_token", headers=((b"www-authenticate", b"Bearer"),))
        return Principal(user_id=user, tenant_id=tenant or None, scopes=frozenset({"notes:read"}))


class Rosters:
    """Memberships of two tenants."""

    members = frozenset({("alice", ACME), ("bob", GLOBEX)})

    async def lookup(self, user_id: str, tenant_id: str) -> Membership | None:
        if (user_id, tenant_id) in self.members:
            return Membership(roles={"member"})
        return None


def guard_settings(**changes: Any) -> GuardSettings:
    """Return settings under which `token` and ``x-tenant`` open the two tenants."""
    given: dict[str, Any] = {
        "environment": "test",
        "authenticators": [KnownTokens()],
        "resolver": HeaderResolver("x-tenant"),
        "memberships": Rosters(),
        "public_paths": ["/health"],
    }
    return GuardSettings(**(given | changes))


def token(user: str, tenant: str) -> dict[str, str]:
    """Return the headers of a request of *user* that names *tenant*."""
    return {"authorization": f"Bearer {user}", "x-tenant": tenant}
