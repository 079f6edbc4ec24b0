"""CustomResolver: a function of yours as a resolver."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Principal, Scope
from asgi_guard.tenancy.resolvers.protocol import TenantResolver

__all__ = ["CustomResolver", "ResolverFunction", "ResolverLike", "as_resolver"]

ResolverFunction = Callable[[Scope, Principal], str | Awaitable[str | None] | None]
ResolverLike = TenantResolver | ResolverFunction


class CustomResolver:
    """Ask a function ``(scope, principal) -> tenant id or None``, sync or async.

    Args:
        fn: The function. A sync one runs on the event loop and must not wait for anything.
    """

    def __init__(self, fn: ResolverFunction) -> None:
        self._fn = fn

    async def resolve(self, scope: Scope, principal: Principal) -> str | None:
        """Return what the function returns."""
        answer = self._fn(scope, principal)
        if inspect.isawaitable(answer):
            return await answer
        return answer


def as_resolver(given: ResolverLike) -> TenantResolver:
    """Return *given* as a resolver.

    Raises:
        ConfigError: It is a class instead of its instance, or neither resolver nor callable.
    """
    if isinstance(given, type) or not (isinstance(given, TenantResolver) or callable(given)):
        raise ConfigError(
            "resolver",
            f"{given!r} is neither a resolver nor a function",
            "Pass e.g. ClaimResolver(), or a function (scope, principal) -> tenant id.",
        )
    return given if isinstance(given, TenantResolver) else CustomResolver(given)
