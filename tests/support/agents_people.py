"""Three people for agents: two users of one tenant, and one of another."""

from __future__ import annotations

from typing import Any

from asgi_guard.tenancy import UserExecutionContext

__all__ = ["ACME", "GLOBEX", "alice", "bob", "carol"]

ACME = "11111111-1111-4111-8111-111111111111"
GLOBEX = "22222222-2222-4222-8222-222222222222"


def alice(**fields: Any) -> UserExecutionContext:
    """A user of ACME."""
    return UserExecutionContext(tenant_id=ACME, user_id="alice", **fields)


def carol(**fields: Any) -> UserExecutionContext:
    """Another user of ACME."""
    return UserExecutionContext(tenant_id=ACME, user_id="carol", **fields)


def bob(**fields: Any) -> UserExecutionContext:
    """A user of GLOBEX."""
    return UserExecutionContext(tenant_id=GLOBEX, user_id="bob", **fields)
