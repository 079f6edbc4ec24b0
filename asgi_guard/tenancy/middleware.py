"""TenantContextMiddleware: from a verified principal and a named tenant to a context, or a no."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from asgi_guard._internal.asgi import (
    HeaderList,
    add_vary,
    client_of,
    field_name,
    on_response_start,
    single_header,
)
from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.events import emit
from asgi_guard._internal.principal import principal_of
from asgi_guard._internal.request_id import request_id_of
from asgi_guard._internal.responses import send_problem
from asgi_guard.errors import ConfigError, RejectionError, TenantAccessError, UnavailableError
from asgi_guard.protocols import ASGIApp, Clock, Receive, Scope, Send
from asgi_guard.tenancy.admission import Admission
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import no_context, use_context
from asgi_guard.tenancy.membership import Memberships
from asgi_guard.tenancy.paths import PublicPaths
from asgi_guard.tenancy.policy import TenantForbiddenError
from asgi_guard.tenancy.resolvers.chain import ChainResolver
from asgi_guard.tenancy.resolvers.claim import ClaimResolver
from asgi_guard.tenancy.resolvers.custom import ResolverLike, as_resolver
from asgi_guard.tenancy.resolvers.protocol import HeaderReader, RootPathMover, TenantResolver
from asgi_guard.tenancy.tenant_id import UUID, TenantIdShape
from asgi_guard.tenancy.trace import trace_id_of
from asgi_guard.tenancy.websocket_expiry import ExpiringSocket

__all__ = ["TenantContextMiddleware"]

_REFUSALS: Final[dict[int, type[TenantAccessError]]] = {
    404: TenantAccessError,
    403: TenantForbiddenError,
}


class TenantContextMiddleware:
    """Serve each HTTP request and WebSocket under the context of a proven tenant, or refuse it.

    Stands inside the authentication middleware, whose principal it reads from the scope.

    Args:
        app: The app to protect.
        resolver: Which tenant a connection names: a resolver, or a function
            ``(scope, principal) -> tenant id or None``, sync or async.
        memberships: What a user is in a tenant. May be left out only where the credential itself
            names the tenant (`ClaimResolver`).
        public_paths: Served to anyone and under no context: ``"/health"``, ``"/static/*"``.
            Other spellings of the same path are not public.
        not_found_status: Status of every tenant that may not be entered, 404 or 403.
        tenant_shape: What a tenant id looks like; everything else is refused before a look-up.
        request_id_header: A header that a trusted proxy sets; None makes every id here.
        request_id_response_header: Where the response carries the id; None for nowhere.
        operation: Names what a connection does, for logs; by default ``"http GET"`` or
            ``"websocket"``, never the path, which may hold personal data.
        clock: Where "now" comes from.

    Raises:
        ConfigError: A setting is wrong, or *memberships* is missing where it is needed.

    Refuses with 401 (no credential), 400 (``tenant_invalid``, ``request_invalid``), 403
    (``tenant_missing``), 503 (a look-up failed), and for unknown, foreign, suspended and deleted
    tenants alike with one 404. Each refusal leaves one event ``TENANT_REFUSED``. An open
    WebSocket is closed with 4401 when its credential expires.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        resolver: ResolverLike,
        memberships: Memberships | None = None,
        public_paths: Iterable[str] = (),
        not_found_status: int = 404,
        tenant_shape: TenantIdShape = UUID,
        request_id_header: str | None = None,
        request_id_response_header: str | None = "x-request-id",
        operation: str | Callable[[Scope], str] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.app = app
        known = as_resolver(resolver)
        _check_memberships(memberships, known)
        if not_found_status not in _REFUSALS:
            raise ConfigError("not_found_status", f"is {not_found_status!r}", "Pass 404 or 403.")
        if not isinstance(tenant_shape, TenantIdShape):
            raise ConfigError("tenant_shape", f"is {tenant_shape!r}", "Pass UUID, SLUG or INTEGER.")
        self._mover = known if isinstance(known, RootPathMover) else None
        self._vary = known.vary if isinstance(known, HeaderReader) else ()
        self._public = PublicPaths(public_paths)
        self._trusted_id = _field_name("request_id_header", request_id_header)
        self._shown_id = _field_name("request_id_response_header", request_id_response_header)
        self._clock = clock
        self._admission = Admission(
            resolver=known,
            memberships=memberships,
            tenant_shape=tenant_shape,
            refusal=_REFUSALS[not_found_status],
            operation=_naming(operation),
            clock=clock,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; lifespan passes untouched, and under no context."""
        with no_context():
            if scope["type"] in {"http", "websocket"}:
                await self._serve(scope, receive, send)
            else:
                await self.app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = request_id_of(scope, trusted_header=self._trusted_id)
        public = self._public.cover(scope)
        send = self._labelling(request_id, send, vary=() if public else self._vary)
        tenant_id: str | None = None
        try:
            if self._trusted_id is not None:
                single_header(scope, self._trusted_id)
            if not public:
                principal = self._admission.identify(scope)
                tenant_id = await self._admission.name(scope, principal)
                context = await self._admission.admit(scope, principal, tenant_id, request_id)
        except (RejectionError, UnavailableError) as refusal:
            _report(refusal, scope, tenant_id)
            await send_problem(scope, receive, send, refusal)
            return
        if public:
            await self.app(scope, receive, send)
        else:
            await self._run(context, scope, receive, send)

    async def _run(
        self, context: UserExecutionContext, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if self._mover is not None:
            # In place, as a router does it: layers outside read ``endpoint`` from this very scope.
            scope["root_path"] = self._mover.inner_root_path(scope)
        if scope["type"] == "websocket" and context.expires_at is not None:
            socket = ExpiringSocket(receive, send, expires_at=context.expires_at, clock=self._clock)
            receive, send = socket.receive, socket.send
        with use_context(context):
            await self.app(scope, receive, send)

    def _labelling(self, request_id: str, send: Send, *, vary: tuple[bytes, ...]) -> Send:
        name = self._shown_id
        if name is None and not vary:
            return send
        shown = [] if name is None else [(name, request_id.encode())]

        def label(headers: HeaderList) -> None:
            headers[:] = [pair for pair in headers if pair[0] != name] + shown
            for field in vary:
                add_vary(headers, field)

        return on_response_start(send, label)


def _report(refusal: RejectionError | UnavailableError, scope: Scope, named: str | None) -> None:
    """Leave the one event of a refusal; it names the tenant that was asked for as such."""
    principal = principal_of(scope)
    details = {"code": refusal.code}
    if named is not None:
        details["named_tenant"] = named
    if refusal.__cause__ is not None:
        details["error"] = type(refusal.__cause__).__name__  # its text may hold SQL
    emit(
        "TENANT_REFUSED",
        outcome="denied" if isinstance(refusal, RejectionError) else "error",
        reason=refusal.reason,
        details=details,
        request_id=request_id_of(scope),
        tenant_id=principal.tenant_id if principal else None,
        user_id=principal.user_id if principal else None,
        auth_method=principal.auth_method if principal else None,
        client=client_of(scope),
        trace_id=trace_id_of(scope),
    )


def _check_memberships(memberships: Memberships | None, resolver: TenantResolver) -> None:
    if memberships is None:
        if not _reads_credential(resolver):
            raise ConfigError(
                "memberships",
                "is missing, and the resolver believes what the caller writes",
                "Pass a Memberships, or let the credential name the tenant: ClaimResolver().",
            )
    elif isinstance(memberships, type) or not isinstance(memberships, Memberships):
        raise ConfigError(
            "memberships",
            f"{memberships!r} has no lookup(user_id, tenant_id)",
            "Pass e.g. CachedMemberships(SQLMemberships(...)).",
        )


def _reads_credential(resolver: TenantResolver) -> bool:
    if isinstance(resolver, ChainResolver):
        return all(_reads_credential(each) for each in resolver.resolvers)
    return isinstance(resolver, ClaimResolver)


def _field_name(setting: str, name: str | None) -> bytes | None:
    return None if name is None else field_name(setting, name)


def _naming(operation: str | Callable[[Scope], str] | None) -> Callable[[Scope], str]:
    if operation is None:
        return _kind_of
    if isinstance(operation, str):
        return lambda _scope: operation
    if not callable(operation):
        raise ConfigError("operation", f"is {operation!r}", "Pass a name, or scope -> name.")
    return operation


def _kind_of(scope: Scope) -> str:
    return f"http {scope['method']}" if scope["type"] == "http" else "websocket"
