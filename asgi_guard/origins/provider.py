"""Where origins come from when they are not in the configuration: a table, a tenant's settings.

Two kinds: `OriginProvider` is asked about each origin, `TenantPolicies` for a tenant's whole
list. A tenant's list is typed by the tenant: it is never trusted with ``*``, ``null`` or a
pattern over a public suffix.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from asgi_guard.errors import ConfigError
from asgi_guard.origins.decision import OriginDecision
from asgi_guard.origins.lookups import LookupLimits, Lookups
from asgi_guard.origins.policy import Environment, OriginPolicy
from asgi_guard.protocols import Scope

__all__ = [
    "EachOrigin",
    "EachTenant",
    "OriginProvider",
    "OriginSource",
    "TenantOf",
    "TenantPolicies",
    "bounded",
]

TenantOf = Callable[[Scope], str | None]
"""Names the tenant that a connection addresses, by host or path; None when it names none.

It is a claim, not a proof: preflights carry no credential. It selects a list, nothing more.
"""

_LONGEST_NAME: Final = 253  # of a host (RFC 1035 section 2.3.4); tenant ids are shorter
_TENANT_UNKNOWN: Final = OriginDecision(False, "tenant_unknown")
_DENIED: Final = OriginDecision(False, "provider_denied")
_UNSAFE: Final = OriginDecision(False, "unsafe_policy")


def bounded(tenant_of: TenantOf) -> TenantOf:
    """Return *tenant_of*, for which nobody is called by a name longer than a host's.

    Names are kept with what was learnt about them, and a stranger writes them.
    """

    def named(scope: Scope) -> str | None:
        tenant = tenant_of(scope)
        return tenant if isinstance(tenant, str) and len(tenant) <= _LONGEST_NAME else None

    return named


class OriginProvider(Protocol):
    """Asked about one origin; only ``True`` itself lets it in."""

    def __call__(self, origin: str, scope: Scope, /) -> Awaitable[bool]:
        """Tell whether *origin* may talk to what *scope* addresses.

        The answer may depend on the tenant and the origin alone: it is kept under both.
        """


class TenantPolicies(Protocol):
    """Asked for the origins of one tenant."""

    def __call__(self, tenant: str, /) -> Awaitable[OriginPolicy | None]:
        """Return the tenant's policy, or None when there is no such tenant."""


class OriginSource(Protocol):
    """What `DynamicOriginPolicy` asks once its own list does not know an origin."""

    def peek(self, origin: bytes, scope: Scope) -> OriginDecision | None:
        """Return a decision that needs no waiting, or None."""

    async def ask(self, origin: bytes, scope: Scope) -> OriginDecision:
        """Decide; may raise, which its caller turns into a refusal."""


class EachOrigin:
    """Asks an `OriginProvider`, and keeps the answers by tenant and origin."""

    def __init__(
        self,
        provider: OriginProvider,
        tenant_of: TenantOf | None,
        limits: LookupLimits,
    ) -> None:
        self._provider, self._tenant_of = provider, tenant_of
        self._kept: Lookups[tuple[object, bytes], OriginDecision] = Lookups(
            limits, grants=lambda kept: kept.allowed
        )

    def peek(self, origin: bytes, scope: Scope) -> OriginDecision | None:
        """Return the kept answer, if it is known whose it is."""
        if self._tenant_of is None:
            return None
        tenant = self._tenant_of(scope)
        return _TENANT_UNKNOWN if tenant is None else self._kept.peek((tenant, origin))

    async def ask(self, origin: bytes, scope: Scope) -> OriginDecision:
        """Ask, or share the answer to the same question already under way."""

        async def question() -> OriginDecision:
            answer = await self._provider(origin.decode("ascii"), scope)
            # Not truthiness: a forgotten await or a row object must not let anybody in.
            return OriginDecision(True, "provider", "provider") if answer is True else _DENIED

        if self._tenant_of is None:
            # Whose answer it would be is unknown, so nothing is shared or kept.
            return await self._kept.get((object(), origin), question, keep=False)
        tenant = self._tenant_of(scope)
        if tenant is None:
            return _TENANT_UNKNOWN
        return await self._kept.get((tenant, origin), question)


class EachTenant:
    """Asks for a `TenantPolicies`' policy, and keeps it by tenant."""

    def __init__(
        self,
        policies: TenantPolicies,
        tenant_of: TenantOf,
        environment: Environment,
        limits: LookupLimits,
    ) -> None:
        self._policies, self._tenant_of, self._environment = policies, tenant_of, environment
        self._kept: Lookups[str, OriginPolicy | OriginDecision] = Lookups(
            limits, grants=lambda kept: isinstance(kept, OriginPolicy)
        )

    def peek(self, origin: bytes, scope: Scope) -> OriginDecision | None:
        """Decide by the tenant's kept policy, if there is one."""
        tenant = self._tenant_of(scope)
        if tenant is None:
            return _TENANT_UNKNOWN
        kept = self._kept.peek(tenant)
        return None if kept is None else _apply(kept, origin)

    async def ask(self, origin: bytes, scope: Scope) -> OriginDecision:
        """Fetch the tenant's policy, or share the fetch already under way."""
        tenant = self._tenant_of(scope)
        if tenant is None:
            return _TENANT_UNKNOWN

        async def question() -> OriginPolicy | OriginDecision:
            return self._trusted(await self._policies(tenant))

        return _apply(await self._kept.get(tenant, question), origin)

    def _trusted(self, policy: OriginPolicy | None) -> OriginPolicy | OriginDecision:
        """Return the policy if it may be used at all."""
        if policy is None:
            return _TENANT_UNKNOWN
        if not isinstance(policy, OriginPolicy) or policy.environment != self._environment:
            return _UNSAFE
        try:
            policy.require_credential_safe("origins.tenant_policies")
        except ConfigError:
            return _UNSAFE
        return policy


def _apply(kept: OriginPolicy | OriginDecision, origin: bytes) -> OriginDecision:
    return kept.decision(origin) if isinstance(kept, OriginPolicy) else kept
