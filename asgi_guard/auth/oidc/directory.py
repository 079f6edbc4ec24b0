"""ProviderDirectory: which tenant a request is at, and which provider it means there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from asgi_guard.auth.oidc.provider import OIDCProvider
from asgi_guard.auth.oidc.providers import ProviderRegistry, StaticProviders, by_issuer, by_name
from asgi_guard.auth.oidc.refusal import refuse
from asgi_guard.errors import ConfigError, RejectionError, TenantMissingError, UnavailableError
from asgi_guard.protocols import Principal, Scope
from asgi_guard.tenancy.resolvers.claim import ClaimResolver
from asgi_guard.tenancy.resolvers.custom import ResolverLike, as_resolver
from asgi_guard.tenancy.tenant_id import TenantIdShape

__all__ = ["TENANT", "ProviderDirectory"]

TENANT: Final = "{tenant}"
_NOBODY: Final = Principal(user_id="")


class ProviderDirectory:
    """Look up providers for requests that nobody has signed.

    Args:
        registry: Of the providers.
        mount_path: Where the callbacks are; ``{tenant}`` in it is the tenant's id.
        resolver: How a request names its tenant, or None.
        tenant_shape: The spelling of tenant ids.

    Raises:
        ConfigError: A configured provider's redirect address leads elsewhere, or the resolver
            needs a credential.
    """

    def __init__(
        self,
        registry: ProviderRegistry,
        *,
        mount_path: str,
        resolver: ResolverLike | None,
        tenant_shape: TenantIdShape,
    ) -> None:
        if isinstance(resolver, ClaimResolver):
            raise ConfigError(
                "OIDCLogin.resolver",
                "reads a credential, which nobody has before the login",
                "Pass e.g. SubdomainResolver(base_domain).",
            )
        if TENANT in mount_path and resolver is None:
            raise ConfigError(
                "OIDCLogin.resolver",
                f"is missing, and {mount_path} names a tenant",
                "Pass e.g. PathResolver().",
            )
        self._registry = registry
        self._mount_path = mount_path
        self._resolver = None if resolver is None else as_resolver(resolver)
        self._shape = tenant_shape
        self.configured = registry.placed if isinstance(registry, StaticProviders) else ()
        for tenant_id, provider in self.configured:
            problem = self.misplaced(provider, tenant_id)
            if problem:
                raise ConfigError(
                    "OIDCProvider.redirect_uri", problem, "Register the callback's exact address."
                )

    def misplaced(self, provider: OIDCProvider, tenant_id: str | None) -> str:
        """Say where *provider*'s redirect address leads, if not to its callback; else nothing."""
        if TENANT in self._mount_path and tenant_id is None:
            return f"{provider.name!r} is everybody's, and each tenant has a callback of its own"
        mount_path = self._mount_path.replace(TENANT, tenant_id or "")
        expected = f"{mount_path}/callback/{provider.name}"
        if provider.callback_path == expected:
            return ""
        return f"{provider.redirect_uri!r} does not have the path {expected}"

    async def tenant_of(self, scope: Scope) -> str | None:
        """Return the tenant that *scope* names; None in an app without tenants.

        Raises:
            RejectionError: It names none, or none that could be.
            UnavailableError: It cannot be read now.
        """
        if self._resolver is None:
            return None
        # Below a mount, ``root_path`` holds the prefix that a `PathResolver` looks for.
        outer = {**scope, "root_path": scope.get("app_root_path", scope.get("root_path", ""))}
        try:
            named = await self._resolver.resolve(outer, _NOBODY)
        except (RejectionError, UnavailableError):
            raise
        except Exception as failure:
            raise UnavailableError("tenant_unreadable") from failure
        if named is None:
            raise TenantMissingError
        return self._shape.parse(named)

    async def named(self, tenant_id: str | None, name: str) -> OIDCProvider:
        """Return the provider called *name* at *tenant_id*.

        Raises:
            LoginRefusedError: There is none, or its redirect address leads elsewhere.
            UnavailableError: It cannot be looked up now.
        """
        provider = by_name(await self._of_tenant(tenant_id), name)
        if provider is None:
            refuse("provider_unknown")
        if self.misplaced(provider, tenant_id):
            refuse("provider_misplaced")
        return provider

    async def issuing(self, tenant_id: str | None, issuer: object, audience: Any) -> OIDCProvider:
        """Return the provider that a token of *issuer* for *audience* must be from.

        Raises:
            LoginRefusedError: There is none.
            UnavailableError: It cannot be looked up now.
        """
        audiences = audience if isinstance(audience, list) else [audience]
        provider = by_issuer(await self._of_tenant(tenant_id), issuer, audiences)
        if provider is None:
            refuse("provider_unknown")
        return provider

    async def _of_tenant(self, tenant_id: str | None) -> Sequence[OIDCProvider]:
        try:
            return await self._registry.of_tenant(tenant_id)
        except (RejectionError, UnavailableError):
            raise
        except Exception as failure:
            raise UnavailableError("providers_unreachable") from failure
