"""OIDCLogin: log users in through OpenID Connect providers, and out again."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from starlette.routing import Router

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.auth.oidc.beginnings import Beginnings
from asgi_guard.auth.oidc.checks import OIDCFinding, findings_of
from asgi_guard.auth.oidc.code_flow import CodeFlow, TokensHook
from asgi_guard.auth.oidc.directory import TENANT, ProviderDirectory
from asgi_guard.auth.oidc.discovery import Discovery
from asgi_guard.auth.oidc.documents import ProviderClient
from asgi_guard.auth.oidc.links import SessionLinks
from asgi_guard.auth.oidc.local_path import local_path
from asgi_guard.auth.oidc.logout import LogoutFlows
from asgi_guard.auth.oidc.provider import OIDCProvider
from asgi_guard.auth.oidc.providers import ProviderRegistry, StaticProviders
from asgi_guard.auth.oidc.routes import RefusalPage, login_router
from asgi_guard.auth.oidc.session_logins import SessionLogins
from asgi_guard.auth.oidc.sessions import LoginSessions
from asgi_guard.auth.throttle import Throttle
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Clock, Fetch, KeyValueStore
from asgi_guard.tenancy.resolvers.custom import ResolverLike
from asgi_guard.tenancy.tenant_id import UUID, TenantIdShape

__all__ = ["OIDCLogin"]

_MOUNT: Final = re.compile(r"(?:/(?:[A-Za-z0-9._~-]+|\{tenant\}))+|")


class OIDCLogin:
    """The relying party of an app: authorization code with PKCE and nonce.

    ``app.mount("/auth", login.app)`` in Starlette and FastAPI. Under `Guard`, list
    ``login.public_paths`` in ``GuardSettings(public_paths=...)``: whoever logs in has no tenant
    yet.

    Args:
        providers: Of everybody, or a `ProviderRegistry` that knows each tenant's.
        sessions: Where a login begins a session, and a logout ends it.
        store: Where states, links and used tokens are kept; shared by all processes.
        fetch: How providers are asked.
        mount_path: Where the app is mounted: what comes before ``/callback/<provider>`` in the
            redirect addresses. Empty for the root. Where the tenant is in the path, as the app
            mounts it: ``/t/{tenant}/auth``; each tenant then has providers of its own.
        resolver: How a request names its tenant; None for an app without tenants. Nobody is
            logged in yet, so it must be one that reads the request: host, path or header.
        tenant_shape: The spelling of tenant ids.
        on_tokens: Gets what was proven and the tokens before the browser gets its session, e.g.
            to keep a refresh token in the vault. If it raises, the session ends.
        on_refused: Makes the page that a browser sees when a login is refused; by default
            ``application/problem+json``.
        after_login: Path for a login that asked for none.
        after_logout: Path for a browser that has logged out.
        throttle: Counts the logins that each address has under way: 429 for too many. Give it
            a name of its own, and limits for offices behind one address.
        most_waiting: Logins that one process may have under way, whoever began them; 503 beyond.
            Keep it well below what *store* holds, or strangers fill it.
        seconds: Longest that one request to a provider may take.
        clock: Where "now" comes from.

    Raises:
        ConfigError: An option is not what it should be, or the redirect address of a provider is
            not the address of its callback here.
    """

    def __init__(
        self,
        providers: ProviderRegistry | Iterable[OIDCProvider],
        *,
        sessions: LoginSessions,
        store: KeyValueStore,
        fetch: Fetch,
        mount_path: str = "/auth",
        resolver: ResolverLike | None = None,
        tenant_shape: TenantIdShape = UUID,
        on_tokens: TokensHook | None = None,
        on_refused: RefusalPage | None = None,
        after_login: str = "/",
        after_logout: str = "/",
        throttle: Throttle | None = None,
        most_waiting: int = 10_000,
        seconds: float = 5.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        registry = (
            providers if isinstance(providers, ProviderRegistry) else StaticProviders(providers)
        )
        _check_collaborators(sessions, store)
        if resolver is not None and isinstance(sessions, SessionLogins):
            _check_members(sessions)
        _check_paths(mount_path=mount_path, after_login=after_login, after_logout=after_logout)
        self._directory = ProviderDirectory(
            registry, mount_path=mount_path, resolver=resolver, tenant_shape=tenant_shape
        )
        self._client = ProviderClient(fetch, seconds=seconds)
        self._discovery = Discovery(self._client, clock=clock)
        links = SessionLinks(store, clock=clock)
        common: dict[str, Any] = {
            "directory": self._directory,
            "discovery": self._discovery,
            "sessions": sessions,
            "links": links,
            "store": store,
            "clock": clock,
        }
        self._router = login_router(
            CodeFlow(
                **common,
                client=self._client,
                beginnings=Beginnings(most=most_waiting, throttle=throttle, clock=clock),
                on_tokens=on_tokens,
                after_login=after_login,
            ),
            LogoutFlows(**common, after_logout=after_logout),
            on_refused=on_refused,
            clock=clock,
        )
        self._mount_path = mount_path

    @property
    def app(self) -> Router:
        """The ASGI app to mount.

        ``/login/<provider>``, ``/callback/<provider>``, ``/logout`` (POST), ``/logged-out``, and
        ``/backchannel-logout`` for the provider.
        """
        return self._router

    @property
    def public_paths(self) -> tuple[str, ...]:
        """The paths that need no tenant, for `GuardSettings`."""
        below = ("/login/*", "/callback/*", "/logout", "/logged-out", "/backchannel-logout")
        return tuple(self._mount_path + path for path in below)

    async def check(self) -> list[OIDCFinding]:
        """Ask each configured provider for its metadata, and say what does not fit.

        For a start-up hook or a deployment's smoke test. Providers that come from a registry of
        your own are not known here: see `check_provider`.
        """
        return [
            finding
            for tenant_id, provider in self._directory.configured
            for finding in await self.check_provider(provider, tenant_id=tenant_id)
        ]

    async def check_provider(
        self, provider: OIDCProvider, *, tenant_id: str | None = None
    ) -> list[OIDCFinding]:
        """The same for one provider, e.g. before a tenant's settings are stored."""
        misplaced = self._directory.misplaced(provider, tenant_id)
        return await findings_of(provider, self._discovery, misplaced=misplaced)


def _check_collaborators(sessions: object, store: object) -> None:
    if isinstance(sessions, type) or not isinstance(sessions, LoginSessions):
        raise ConfigError(
            "OIDCLogin.sessions", "cannot start and end sessions", "Pass SessionLogins(service)."
        )
    if isinstance(store, type) or not isinstance(store, KeyValueStore):
        raise ConfigError(
            "OIDCLogin.store",
            "is no KeyValueStore",
            "Pass one that all processes share: SQLStore, RedisStore; MemoryStore for one process.",
        )


def _check_members(sessions: SessionLogins) -> None:
    if not sessions.knows_members:
        raise ConfigError(
            "SessionLogins.memberships",
            "is missing, and logins have tenants",
            "Pass the Memberships that the guard has.",
        )


def _check_paths(*, mount_path: str, **after: str) -> None:
    if (
        not isinstance(mount_path, str)
        or not _MOUNT.fullmatch(mount_path)
        or mount_path.count(TENANT) > 1
    ):
        raise ConfigError(
            "OIDCLogin.mount_path", f"{mount_path!r} is no plain path", "Write e.g. /auth."
        )
    for name, path in after.items():
        if local_path(path) is None:
            raise ConfigError(f"OIDCLogin.{name}", f"{path!r} is no path here", "Write e.g. /.")
