"""ChainResolver: several ways to name a tenant, of which none may contradict another."""

from __future__ import annotations

from asgi_guard.errors import ConfigError, TenantAccessError
from asgi_guard.protocols import Principal, Scope
from asgi_guard.tenancy.resolvers.custom import ResolverLike, as_resolver
from asgi_guard.tenancy.resolvers.protocol import HeaderReader, RootPathMover

__all__ = ["ChainResolver"]


class ChainResolver:
    """Ask every resolver; the first that names a tenant decides, and the rest must agree.

    All are asked, because a request that names one tenant to the router and another to us is
    either broken or an attack.

    Args:
        *resolvers: Resolvers or callables, in order of preference.

    Raises:
        ConfigError: There is none.
    """

    def __init__(self, *resolvers: ResolverLike) -> None:
        if not resolvers:
            raise ConfigError("ChainResolver", "is empty", "Pass at least one resolver.")
        self.resolvers = tuple(as_resolver(resolver) for resolver in resolvers)
        self._movers = [each for each in self.resolvers if isinstance(each, RootPathMover)]
        readers = [each for each in self.resolvers if isinstance(each, HeaderReader)]
        self.vary = tuple(name for reader in readers for name in reader.vary)

    async def resolve(self, scope: Scope, principal: Principal) -> str | None:
        """Return the one tenant that is named, or None.

        Raises:
            TenantAccessError: Two resolvers name different tenants.
        """
        named: str | None = None
        for resolver in self.resolvers:
            answer = await resolver.resolve(scope, principal)
            if named is None:
                named = answer
            elif answer is not None and answer != named:
                raise TenantAccessError("resolvers_disagree")
        return named

    def inner_root_path(self, scope: Scope) -> str:
        """Return ``root_path`` as the first path resolver that moves something wants it."""
        root: str = scope.get("root_path", "")
        wanted = (mover.inner_root_path(scope) for mover in self._movers)
        return next((each for each in wanted if each != root), root)
