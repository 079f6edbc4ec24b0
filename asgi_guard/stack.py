"""Guard: every layer around one app, in the one right order.

The order is `Guard._layers`, each line with its reason. Hosts:

==========================  =====================================================================
Starlette, FastAPI          ``Guard(settings).install(app)``: in place, the same object comes back
Quart                       ``Guard(settings).install(app)``: in place, through ``app.asgi_app``
Litestar, Django, raw ASGI  ``app = Guard(settings).install(app)``: serve what comes back
==========================  =====================================================================
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from asgi_guard._internal.asgi import HeaderList, field_name, on_response_start
from asgi_guard._internal.canonical_path import INNER_ROOT_PATH
from asgi_guard._internal.events import subscribe
from asgi_guard._internal.guard_marks import CLIENT, DATABASES, databases_of, holds_a_guard
from asgi_guard._internal.lifespan import CheckedLifespan
from asgi_guard._internal.proxies import TrustedProxies
from asgi_guard._internal.request_id import request_id_of
from asgi_guard.auth import AuthenticationMiddleware
from asgi_guard.cors import CORSAllowlistMiddleware
from asgi_guard.cross_origin import CrossOriginMiddleware
from asgi_guard.errors import ConfigError
from asgi_guard.integrations.hosts import is_a, keep_status_of_errors
from asgi_guard.protocols import ASGIApp, Receive, Scope, Send
from asgi_guard.security_headers import SecurityHeadersMiddleware
from asgi_guard.settings import GuardSettings
from asgi_guard.settings.auditing import open_audit
from asgi_guard.settings.checks import header_set
from asgi_guard.settings.startup import Readiness, ReadyGate
from asgi_guard.settings.throttling import throttled_authenticators
from asgi_guard.settings.verification import verify_database
from asgi_guard.tenancy import TenantContextMiddleware
from asgi_guard.tenancy.current import no_context
from asgi_guard.tenancy.fail_closed import FailClosedMiddleware
from asgi_guard.tenancy.resolvers.protocol import RootPathMover

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from asgi_guard.audit_log import AuditLog

__all__ = ["Guard", "GuardedApp"]

HostApp = TypeVar("HostApp", bound="Starlette")
Layer = Callable[[ASGIApp], ASGIApp]

_REQUEST_ID: Final = b"x-request-id"


class Guard:
    """Everything that stands between a server and one app.

    Args:
        settings: What is guarded, and how. Every layer is built once here, so that a wrong
            setting is known before there is an app.

    Raises:
        ConfigError: A setting is wrong.
    """

    def __init__(self, settings: GuardSettings) -> None:
        self.settings = settings
        self.readiness = Readiness(
            settings.databases,
            verify=partial(verify_database, tables=settings.tables),
            enforce=settings.startup_checks == "enforce",
            clock=settings.clock,
            first=None if settings.audit is None else partial(self._open, settings.audit),
        )
        self._subscribed = False
        self._stop_reading: Callable[[], None] = _not_reading
        self._wrap(_nothing)

    @overload
    def install(self, app: HostApp) -> HostApp: ...

    @overload
    def install(self, app: Callable[..., Awaitable[None]]) -> ASGIApp: ...

    def install(self, app: Any) -> Any:
        """Guard *app*, in place where the host allows it.

        Returns:
            What to serve: *app* itself for Starlette, FastAPI and Quart, else a new ASGI app.

        Raises:
            ConfigError: *app* is no app, is guarded already, holds an app that is, or has begun
                to serve.
        """
        if isinstance(app, type) or not callable(app):
            raise ConfigError(
                "Guard.install(app)", f"{app!r} is no ASGI app", "Pass the app object itself."
            )
        if holds_a_guard(app):
            raise ConfigError("Guard.install(app)", *_SECOND)
        if not self._subscribed:
            self._subscribed = True
            for sink in self.settings.event_sinks:
                subscribe(sink)
            self._keep_record()
        if is_a(app, "starlette.applications", "Starlette"):
            return self._install_in_starlette(app)
        keep_status_of_errors(app)
        if is_a(app, "quart", "Quart"):  # others may have an ``asgi_app`` and answer beside it
            app.asgi_app = self._wrap(app.asgi_app)
            return app
        return self._wrap(app)

    async def check(self) -> None:
        """Look at every database now, as at start-up.

        Raises:
            NotReadyError: Row-level security is not real; the message lists what mends it.
        """
        await self.readiness.ensure()

    def _install_in_starlette(self, app: Starlette) -> Starlette:
        from asgi_guard.integrations.starlette import install_in_place  # noqa: PLC0415 - as needed

        if app.debug and self.settings.environment == "production":
            raise ConfigError(
                "app.debug",
                "shows source code and local variables to every caller",
                "Switch it off, or set environment='development'.",
            )
        install_in_place(app, self._wrap)
        return app

    def _wrap(self, app: ASGIApp) -> GuardedApp:
        stack = app
        for layer in reversed(list(self._layers())):
            stack = layer(stack)
        return GuardedApp(
            app,
            stack,
            databases=tuple(self.settings.databases),
            readiness=self.readiness,
            id_header=self.settings.request_id_header,
            resolver=self.settings.resolver,
            proxies=self.settings.trusted_proxies,
            close=None if self.settings.audit is None else self._close,
        )

    def _keep_record(self) -> None:
        audit = self.settings.audit
        if audit is None:
            return
        self._stop_reading = subscribe(audit)
        if self.settings.databases:
            from asgi_guard.integrations import sql_audit  # noqa: PLC0415 - loads SQLAlchemy

            sql_audit.audit_databases(self.settings.databases, audit, clock=self.settings.clock)

    async def _close(self) -> None:
        """End what `readiness` has begun, so that a server that starts us again begins anew."""
        self.readiness.again()
        if self.settings.audit is not None:
            await self.settings.audit.aclose()
            self._stop_reading()  # a closed log would fill up, and then refuse

    async def _open(self, audit: AuditLog) -> None:
        self._stop_reading()
        self._stop_reading = subscribe(audit)  # once, also after a shutdown
        await open_audit(audit)

    def _layers(self) -> Iterator[Layer]:
        """Give the layers, outermost first: each sees every answer of those after it."""
        s = self.settings
        # Outermost: refusals and errors are framed, sniffed and cached like any other answer.
        yield partial(
            SecurityHeadersMiddleware,
            policy=header_set(s.security_headers),
            environment=s.environment,
            trusted_proxies=s.trusted_proxies,
            routes=s.security_headers_routes,
            tenants=s.security_headers_tenants,
        )
        if s.cors is not None:
            # Around whatever refuses, or a browser hides the refusal's status from a friend.
            yield partial(CORSAllowlistMiddleware, policy=s.cors)
        # Before anything that costs: a page of another site is turned away unread.
        yield partial(
            CrossOriginMiddleware,
            policy=s.cross_site,
            origins=s.friends,
            proxies=s.trusted_proxies,
        )
        # Inside the layers that dress responses, so that its answers are dressed as well.
        yield FailClosedMiddleware
        # Nothing below may read a database that has not been checked.
        yield partial(ReadyGate, readiness=self.readiness)
        if s.resolver is not None:
            # Who, before where: a tenant is proven by a credential.
            yield partial(AuthenticationMiddleware, authenticators=throttled_authenticators(s))
            # Innermost: the context is current inside the app and nowhere else.
            yield partial(
                TenantContextMiddleware,
                resolver=s.resolver,
                memberships=s.memberships,
                tenant_shape=s.tenant_shape,
                public_paths=s.public_paths,
                not_found_status=s.not_found_status,
                request_id_header=s.request_id_header,
                request_id_response_header=None,  # set once, by GuardedApp
                clock=s.clock,
            )


class GuardedApp:
    """An app inside its guard: the entrance of every connection, and the start-up checks.

    Args:
        app: The app itself, which lifespan goes to directly.
        stack: The app inside its layers.
        databases: For the handlers' sessions.
        readiness: Checked before start-up is reported complete.
        id_header: Header whose request id is taken over; None for nobody's.
        resolver: How a request names its tenant; one that does by path moves ``root_path``.
        proxies: Whose word on the client's address is taken, for every event of every layer.
        close: Run when the app has shut down.
    """

    asgi_guard_installed = True  # guard_marks.INSTALLED

    def __init__(
        self,
        app: ASGIApp,
        stack: ASGIApp,
        *,
        databases: tuple[object, ...],
        readiness: Readiness,
        id_header: str | None,
        resolver: object,
        proxies: TrustedProxies,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.app = app
        self._stack = stack
        self._databases = databases
        self._readiness = readiness
        self._proxies = proxies or None
        self._close = close
        self._mover = resolver if isinstance(resolver, RootPathMover) else None
        self._trusted_id = None if id_header is None else field_name("request_id_header", id_header)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the lifespan."""
        if scope["type"] == "lifespan":
            lifespan = CheckedLifespan(self.app, self._readiness.ensure, self._close)
            await lifespan.run(scope, receive, send)
            return
        if databases_of(scope) is not None:
            # Two guards could prove two tenants for one request; neither may be believed.
            raise ConfigError("Guard.install(app)", *_SECOND)
        scope[DATABASES] = self._databases
        if self._proxies is not None:  # decided once, so that all events name one client
            scope[CLIENT] = self._proxies.client_of(scope)
        if self._mover is not None:  # the layers outside of it have rules by path, too
            scope[INNER_ROOT_PATH] = self._mover.inner_root_path(scope)
        request_id = request_id_of(scope, trusted_header=self._trusted_id).encode()

        def name_request(headers: HeaderList) -> None:
            headers[:] = [pair for pair in headers if pair[0] != _REQUEST_ID]
            headers.append((_REQUEST_ID, request_id))

        try:
            with no_context():  # also for what the outer layers answer and report
                await self._stack(scope, receive, on_response_start(send, name_request))
        finally:
            scope.pop(CLIENT, None)
            scope.pop(DATABASES, None)  # a layer outside may hand the same scope in again


_SECOND: Final = (
    "there is a guard around this app, or inside it, already",
    "Install one guard, on the outermost app; it covers everything mounted below.",
)


async def _nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Stand in for the app while the settings are tried out."""


def _not_reading() -> None:
    """Stand in for taking the log out of the event stream while it is not in there."""
