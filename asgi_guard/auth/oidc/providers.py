"""Which providers a tenant has: a fixed list, or a look-up of the app's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from asgi_guard.auth.oidc.provider import OIDCProvider
from asgi_guard.errors import ConfigError

__all__ = ["ProviderRegistry", "StaticProviders", "by_issuer", "by_name"]


@runtime_checkable
class ProviderRegistry(Protocol):
    """Where the providers of a tenant are found; asked at every step, so keep them at hand."""

    async def of_tenant(self, tenant_id: str | None) -> Sequence[OIDCProvider]:
        """Return the providers of *tenant_id*; none for a tenant that is unknown.

        Args:
            tenant_id: As the request names it, or None for an app that has no tenants. Nothing
                about it is proven yet.

        Raises:
            UnavailableError: They cannot be read now; any other exception counts as this.
        """


class StaticProviders:
    """Providers that are configured, and do not change until the app is restarted.

    Args:
        providers: Of everybody: each tenant, and an app without tenants.
        tenants: Of one tenant, by its id; they come instead of the others.

    Raises:
        ConfigError: There is none, or one tenant has two of one name.
    """

    def __init__(
        self,
        providers: Iterable[OIDCProvider] = (),
        *,
        tenants: Mapping[str, Iterable[OIDCProvider]] | None = None,
    ) -> None:
        self._common = _checked(providers)
        self._tenants = {name: _checked(each) for name, each in (tenants or {}).items()}
        if not self.all:
            raise ConfigError("providers", "is empty", "Pass at least one OIDCProvider.")

    @property
    def all(self) -> tuple[OIDCProvider, ...]:
        """Every provider, for checks at start-up."""
        return tuple(each for _, each in self.placed)

    @property
    def placed(self) -> tuple[tuple[str | None, OIDCProvider], ...]:
        """Every provider with its tenant; None for those of everybody."""
        own = ((name, each) for name, some in self._tenants.items() for each in some)
        return (*((None, each) for each in self._common), *own)

    async def of_tenant(self, tenant_id: str | None) -> Sequence[OIDCProvider]:
        """Return the tenant's own providers, or everybody's."""
        if tenant_id is None:
            return self._common
        return self._tenants.get(tenant_id, self._common)


def by_name(providers: Sequence[OIDCProvider], name: str) -> OIDCProvider | None:
    """Return the provider called *name*."""
    return next((each for each in providers if each.name == name), None)


def by_issuer(
    providers: Sequence[OIDCProvider], issuer: object, audiences: Sequence[object]
) -> OIDCProvider | None:
    """Return the provider that *issuer* is, with a client that is among *audiences*."""
    fitting = (each for each in providers if each.issuer == issuer)
    return next((each for each in fitting if each.client_id in audiences), None)


def _checked(providers: Iterable[OIDCProvider]) -> tuple[OIDCProvider, ...]:
    known = tuple(providers)
    for each in known:
        if not isinstance(each, OIDCProvider):
            raise ConfigError("providers", f"holds a {type(each).__name__}", "Pass OIDCProviders.")
    if len({each.name for each in known}) != len(known):
        raise ConfigError("providers", "has two of one name", "Name each once for a tenant.")
    return known
