"""GuardSettings: how an app is guarded, as one frozen object that is checked when it is built."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.proxies import TrustedProxies
from asgi_guard.cors import CORSPolicy
from asgi_guard.cross_origin import CrossOriginPolicy
from asgi_guard.origins import OriginGate
from asgi_guard.protocols import Authenticator, Clock, EventSink, Scope
from asgi_guard.security_headers import SecurityHeaders
from asgi_guard.security_headers.middleware import TenantPolicies as TenantHeaders
from asgi_guard.settings.checks import check, header_set, listed
from asgi_guard.settings.env import read_environment
from asgi_guard.tenancy.membership import Memberships
from asgi_guard.tenancy.resolvers.custom import ResolverLike
from asgi_guard.tenancy.tenant_id import UUID, TenantIdShape

if TYPE_CHECKING:  # loads SQLAlchemy and cryptography
    from asgi_guard.audit_log import AuditLog
    from asgi_guard.auth.throttle import Throttle
    from asgi_guard.rls.inventory import TableSource
    from asgi_guard.rls.policies import TenantPolicies

__all__ = ["Environment", "GuardSettings", "Preset", "StartupChecks"]

Environment = Literal["production", "development", "test"]
StartupChecks = Literal["enforce", "monitor"]
Preset = Literal["api", "html", "docs", "report_only"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """Everything that `Guard` needs to know.

    Identity and tenant (all three, or none for an app that has only an edge to protect):

    Args:
        authenticators: Asked in order; the first that finds its kind of credential decides.
        throttle: Counts refused credentials of every kind, by client address (as
            *trusted_proxies* know it) and by credential, and answers 429 when there were too
            many: ``Throttle()``. None counts nothing.
        throttle_tenant_of: Which tenant a request's refused credential counts against, e.g. by
            its host. Anybody can use that tenant's limit up.
        resolver: Which tenant a request names, e.g. ``ClaimResolver()``; or a function.
        memberships: Whether the user is an active member there. None is allowed with a
            `ClaimResolver` alone, whose tenant the credential's issuer vouches for.
        tenant_shape: The one spelling of tenant ids.
        public_paths: Served to anyone with no tenant; ``"/health"``, ``"/static/*"``.
        not_found_status: How a tenant that is not the caller's is answered: 404 or 403.

        databases: Guarded engines and pools, each checked before the app serves its first
            request. FastAPI's ``GuardedSession`` uses the one async engine among them.
        tables: What `tenant_policies` returned, or ``MetaData`` or tables, whose protection is
            checked. Every other table with a tenant column is checked in any case.
        startup_checks: ``"enforce"`` refuses to start on a finding; ``"monitor"`` reports it as
            an event and serves.

        origins: Pages that are friends: they may open WebSockets and send cross-site requests.
            None: those of a *cors* that allows credentials, else nobody but the app's own.
        cors: What pages of other origins may read; None grants nothing.
        cross_origin: What other sites' pages may cause.
        security_headers: The header set, or the name of a preset: ``"api"``, ``"html"``,
            ``"docs"`` or ``"report_only"``.
        security_headers_routes: Other sets by path, e.g. ``{"/docs": SecurityHeaders.docs()}``.
        security_headers_tenants: Other sets by tenant; a mapping or a function.

        environment: ``"production"`` turns on HSTS and refuses settings that belong on a
            developer's machine.
        request_id_header: Lower-case header whose id is taken over from a caller; None never
            believes one. Set it only behind a proxy that writes it.
        trusted_proxies: Whose word on scheme, host and client is believed.
        audit: An `AuditLog`. The guard opens it before it serves, closes it at shutdown, reads
            the event stream with it, and records every transaction of *databases* that writes.
            With ``mode="required"`` a write that cannot be recorded is refused with 503.
        insecure_unrecorded_pools: Take a raw asyncpg pool beside an *audit* that is required,
            though its writes are not recorded by themselves: every one of them is recorded with
            ``audit.record(event, connection=connection)``, or by nobody.
        event_sinks: Subscribed to the event stream when the guard is installed.
        clock: Where time comes from.

    Raises:
        ConfigError: A value is wrong, or two contradict each other; it names the way out.
    """

    authenticators: Iterable[Authenticator] = ()
    throttle: Throttle | None = None
    throttle_tenant_of: Callable[[Scope], str | None] | None = None
    resolver: ResolverLike | None = None
    memberships: Memberships | None = None
    tenant_shape: TenantIdShape = UUID
    public_paths: Iterable[str] = ()
    not_found_status: Literal[403, 404] = 404
    databases: Iterable[object] = ()
    tables: TenantPolicies | TableSource | None = None
    startup_checks: StartupChecks = "enforce"
    origins: OriginGate | None = None
    cors: CORSPolicy | None = None
    cross_origin: CrossOriginPolicy = field(default_factory=CrossOriginPolicy)
    security_headers: SecurityHeaders | Preset = "api"
    security_headers_routes: Mapping[str, SecurityHeaders] = field(default_factory=dict)
    security_headers_tenants: TenantHeaders | None = None
    environment: Environment = "production"
    request_id_header: str | None = None
    trusted_proxies: TrustedProxies = field(default_factory=TrustedProxies)
    audit: AuditLog | None = None
    insecure_unrecorded_pools: bool = False
    event_sinks: Iterable[EventSink] = ()
    clock: Clock = SYSTEM_CLOCK

    def __post_init__(self) -> None:
        """Keep the lists as tuples, and refuse what cannot work together."""
        for name in ("authenticators", "public_paths", "databases", "event_sinks"):
            object.__setattr__(self, name, listed(name, getattr(self, name)))
        object.__setattr__(self, "security_headers", header_set(self.security_headers))
        check(self)

    @classmethod
    def from_env(cls, **given: Any) -> Self:
        """Build settings from ``ASGI_GUARD_`` variables (`asgi_guard.settings.env`) and *given*.

        Args:
            **given: Arguments as for the class; they win over the environment.

        Raises:
            ConfigError: A value is wrong; one of the environment's is named by its variable.
        """
        return cls(**(read_environment() | given))

    @property
    def cross_site(self) -> CrossOriginPolicy:
        """What other sites' pages may cause: with a CORS policy, it says who may read."""
        if self.cors is None or self.cross_origin.anonymous_cors_reads:
            return self.cross_origin
        return replace(self.cross_origin, anonymous_cors_reads=True)

    @property
    def friends(self) -> OriginGate | None:
        """Who may open WebSockets and send cross-site requests, beside the app's own pages."""
        if self.origins is None and self.cors is not None and self.cors.allow_credentials:
            return self.cors.origins
        return self.origins
