"""DynamicOriginPolicy: a policy that asks a provider, and can be exchanged while serving."""

from __future__ import annotations

from typing import NamedTuple

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.events import emit
from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.origins.decision import OriginDecision
from asgi_guard.origins.finding import Finding
from asgi_guard.origins.lookups import LookupLimits
from asgi_guard.origins.policy import OriginPolicy
from asgi_guard.origins.provider import (
    EachOrigin,
    EachTenant,
    OriginProvider,
    OriginSource,
    TenantOf,
    TenantPolicies,
    bounded,
)
from asgi_guard.origins.public_suffix import load_public_suffixes
from asgi_guard.protocols import Clock, Scope

__all__ = ["DynamicOriginPolicy"]


class _State(NamedTuple):
    """All that a decision reads; exchanged whole, so that no request sees half of two."""

    base: OriginPolicy
    source: OriginSource | None


class DynamicOriginPolicy:
    """A fixed list first, then a provider; exchangeable at run time without a restart.

    Fails closed: a provider that raises, is slow, is asked too much or answers anything but
    ``True`` (or an `OriginPolicy`) lets nobody in, and leaves an ``ORIGIN_PROVIDER_FAILED`` event.

    Args:
        base: Origins of every tenant, e.g. your own console; asked first.
        provider: ``async (origin, scope) -> bool``.
        tenant_policies: ``async (tenant) -> OriginPolicy | None``, instead of *provider*.
        tenant_of: Names the tenant that a connection addresses, in 253 characters at most.
            Required by *tenant_policies*; without it the answers of *provider* are not kept,
            since it is not known whose they are.
        cache_size: Most grants kept, and as many refusals.
        cache_ttl: Seconds that an answer is kept: how long a removed origin may still get in.
        timeout: Seconds that one question may take.
        max_pending: Most questions under way at once; more are refused.
        clock: Where time comes from.

    Raises:
        ConfigError: The settings do not fit together.
    """

    uniform = False

    def __init__(
        self,
        base: OriginPolicy | None = None,
        *,
        provider: OriginProvider | None = None,
        tenant_policies: TenantPolicies | None = None,
        tenant_of: TenantOf | None = None,
        cache_size: int = 10_000,
        cache_ttl: float = 60.0,
        timeout: float = 2.0,
        max_pending: int = 200,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if provider is not None and tenant_policies is not None:
            raise ConfigError("origins.provider", "stands beside tenant_policies", "Keep one.")
        if tenant_policies is not None and tenant_of is None:
            raise ConfigError(
                "origins.tenant_of", "is missing", "Say which tenant a scope addresses."
            )
        self._limits = LookupLimits(
            size=cache_size,
            ttl=cache_ttl,
            timeout=timeout,
            max_pending=max_pending,
            clock=clock,
        )
        self._provider, self._tenant_policies = provider, tenant_policies
        self._tenant_of = None if tenant_of is None else bounded(tenant_of)
        self._required_by: list[str] = []
        self._state = self._build(base if base is not None else OriginPolicy([]))
        if tenant_policies is not None:
            load_public_suffixes()  # now, not within the first tenant's request

    @property
    def base(self) -> OriginPolicy:
        """The fixed list in force."""
        return self._state.base

    def decide_nowait(self, origin: bytes | None, scope: Scope) -> OriginDecision | None:
        """Decide by the fixed list and the kept answers; None when the provider must be asked."""
        base, source = self._state
        decision = base.decision(origin)
        if source is None or origin is None or decision.reason != "not_listed":
            return decision
        try:
            return source.peek(origin, scope)
        except Exception as failure:  # noqa: BLE001 - tenant_of is foreign code; fail closed
            return _failed("provider_failed", failure)

    async def decide(self, origin: bytes | None, scope: Scope) -> OriginDecision:
        """Decide, asking the provider if need be; fails closed."""
        base, source = self._state
        decision = base.decision(origin)
        if source is None or origin is None or decision.reason != "not_listed":
            return decision
        try:
            return source.peek(origin, scope) or await source.ask(origin, scope)
        except UnavailableError as busy:
            return _failed("provider_busy", busy)
        except TimeoutError as late:
            return _failed("provider_timeout", late)
        except Exception as failure:  # noqa: BLE001 - the provider is foreign code; fail closed
            return _failed("provider_failed", failure)

    def reload(self, base: OriginPolicy | None = None) -> None:
        """Put *base* in force for the next request and forget every kept answer.

        Requests under way finish under the policy they began with, and what they still learn
        is not kept. When *base* is refused, everything stays as it was.

        Args:
            base: The new fixed list; None keeps the present one.

        Raises:
            ConfigError: *base* is not safe for a gate that already uses this policy.
        """
        state = self._build(self._state.base if base is None else base)
        for setting in self._required_by:
            state.base.require_credential_safe(setting)
        self._state = state

    def require_credential_safe(self, setting: str) -> None:
        """Refuse an unsafe fixed list, now and at each `reload`.

        Lists of tenants are always held to it.

        Raises:
            ConfigError: As `OriginPolicy.require_credential_safe`.
        """
        self._state.base.require_credential_safe(setting)
        self._required_by.append(setting)

    def explain(self, origin: str | None) -> str:
        """Return one sentence on what the fixed list says to *origin*."""
        sentence = self._state.base.explain(origin)
        asked = self._state.source is not None and origin is not None
        if asked and self._state.base.decision(_encoded(origin)).reason == "not_listed":
            return f"{sentence} The provider decides; ask it with decide()."
        return sentence

    def lint(self) -> tuple[Finding, ...]:
        """Return what a reviewer would remark on."""
        found = [
            finding
            for finding in self._state.base.lint()
            if finding.code != "no_origin" or self._state.source is None
        ]
        if self._provider is not None and self._tenant_of is None:
            found.append(
                Finding(
                    level="note",
                    code="provider_not_cached",
                    setting="origins.tenant_of",
                    problem="answers are not kept, so every request asks the provider",
                    remedy="Say which tenant a scope addresses.",
                )
            )
        return tuple(found)

    def _build(self, base: OriginPolicy) -> _State:
        if not isinstance(base, OriginPolicy):
            raise ConfigError("origins.base", f"is a {type(base).__name__}", "Pass OriginPolicy.")
        source = self._source(base)
        if source is not None and base.uniform:
            raise ConfigError("origins.base", "lets in '*' before the provider", "List origins.")
        return _State(base, source)

    def _source(self, base: OriginPolicy) -> OriginSource | None:
        if self._provider is not None:
            return EachOrigin(self._provider, self._tenant_of, self._limits)
        if self._tenant_policies is not None and self._tenant_of is not None:
            return EachTenant(
                self._tenant_policies, self._tenant_of, base.environment, self._limits
            )
        return None


def _encoded(origin: str | None) -> bytes | None:
    return None if origin is None else origin.encode("utf-8", "backslashreplace")


def _failed(reason: str, failure: BaseException) -> OriginDecision:
    # The type alone: a driver's message may quote the tenant, the query or its host.
    details = {"error": type(failure).__name__}
    emit("ORIGIN_PROVIDER_FAILED", outcome="error", reason=reason, details=details)
    return OriginDecision(False, reason)
