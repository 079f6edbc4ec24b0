"""GuardSettings: how an app is guarded, as one frozen object that is checked when it is built."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.proxies import TrustedProxies
from asgi_guard.cross_origin import CrossOriginPolicy
from asgi_guard.origins import OriginGate
from asgi_guard.protocols import Authenticator, Clock, EventSink
from asgi_guard.settings.checks import check, listed
from asgi_guard.tenancy.membership import Memberships
from asgi_guard.tenancy.resolvers.custom import ResolverLike
from asgi_guard.tenancy.tenant_id import UUID, TenantIdShape

__all__ = ["Environment", "GuardSettings", "StartupChecks"]

Environment = Literal["production", "development", "test"]
StartupChecks = Literal["enforce", "monitor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """Everything that `Guard` needs to know.

    Identity and tenant (all three, or none for an app that has only an edge to protect):

    Args:
        authenticators: Asked in order; the first that finds its kind of credential decides.
        resolver: Which tenant a request names, e.g. ``ClaimResolver()``; or a function.
        memberships: Whether the user is an active member there. None is allowed with a
            `ClaimResolver` alone, whose tenant the credential's issuer vouches for.
        tenant_shape: The one spelling of tenant ids.
        public_paths: Served to anyone with no tenant; ``"/health"``, ``"/static/*"``.
        not_found_status: How a tenant that is not the caller's is answered: 404 or 403.

        databases: Guarded engines and pools, each checked before the app serves its first
            request. FastAPI's ``GuardedSession`` uses the one async engine among them.
        tables: ``MetaData`` or tables whose protection is checked; None checks every table that
            the runtime role can reach.
        startup_checks: ``"enforce"`` refuses to start on a finding; ``"monitor"`` reports it as
            an event and serves.

        origins: Pages that are friends: asked by CORS, WebSocket handshakes and the cross-site
            check alike.
        cross_origin: What other sites' pages may cause.

        environment: ``"production"`` turns on HSTS and refuses settings that belong on a
            developer's machine.
        request_id_header: Lower-case header whose id is taken over from a caller; None never
            believes one. Set it only behind a proxy that writes it.
        trusted_proxies: Whose word on scheme, host and client is believed.
        event_sinks: Subscribed to the event stream when the guard is installed.
        clock: Where time comes from.

    Raises:
        ConfigError: A value is wrong, or two contradict each other; it names the way out.
    """

    authenticators: Iterable[Authenticator] = ()
    resolver: ResolverLike | None = None
    memberships: Memberships | None = None
    tenant_shape: TenantIdShape = UUID
    public_paths: Iterable[str] = ()
    not_found_status: Literal[403, 404] = 404
    databases: Iterable[object] = ()
    tables: object | None = None
    startup_checks: StartupChecks = "enforce"
    origins: OriginGate | None = None
    cross_origin: CrossOriginPolicy = field(default_factory=CrossOriginPolicy)
    environment: Environment = "production"
    request_id_header: str | None = None
    trusted_proxies: TrustedProxies = field(default_factory=TrustedProxies)
    event_sinks: Iterable[EventSink] = ()
    clock: Clock = SYSTEM_CLOCK

    def __post_init__(self) -> None:
        """Keep the lists as tuples, and refuse what cannot work together."""
        for name in ("authenticators", "public_paths", "databases", "event_sinks"):
            object.__setattr__(self, name, listed(name, getattr(self, name)))
        check(self)
