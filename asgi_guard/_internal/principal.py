"""Where the verified principal of a connection travels: in the scope, for the layers inside."""

from __future__ import annotations

from typing import Final

from asgi_guard.protocols import Principal, Scope

__all__ = ["SCOPE_KEY", "principal_of"]

SCOPE_KEY: Final = "asgi_guard.principal"


def principal_of(scope: Scope) -> Principal | None:
    """Return who the credential of this connection speaks for, or None."""
    principal: Principal | None = scope.get(SCOPE_KEY)
    return principal
