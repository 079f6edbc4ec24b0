"""SecurityHeadersMiddleware: put the policy's headers on every response that leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final, TypeVar

from asgi_guard._internal.canonical_path import PathRules
from asgi_guard._internal.proxies import TrustedProxies
from asgi_guard._internal.responses import send_problem
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import ASGIApp, Receive, Scope, Send
from asgi_guard.security_headers.nonce import SCOPE_KEY, NonceSlot
from asgi_guard.security_headers.policy import SecurityHeaders
from asgi_guard.security_headers.rendering import HTTP, HTTPS, PRODUCTION
from asgi_guard.tenancy.current import current_context
from asgi_guard.tenancy.fail_closed import InternalError
from asgi_guard.tenancy.reporting import report

__all__ = ["SecurityHeadersMiddleware", "TenantPolicies", "security_headers"]

TenantPolicies = Mapping[str, SecurityHeaders] | Callable[[str], SecurityHeaders | None]

_MARK: Final = "asgi_guard_security_headers"
_SERVER_ERROR: Final = 500
_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])


class SecurityHeadersMiddleware:
    """Send *policy* with every HTTP response, errors and refusals included.

    Make it the outermost layer. Inside Starlette's ``add_middleware`` it also works: an exception
    that nothing has answered is answered here with a 500, so that it does not go out bare, and
    raised on; a debug page or a handler for ``Exception`` that the app has set is left to answer.

    WebSocket and lifespan connections pass through with the server's own ``send``. Bodies are
    never read, held or changed, whatever the extension they travel by.

    Args:
        app: The app to protect.
        policy: What each response gets, unless one of the following says otherwise.
        environment: ``"production"``, or another name: HSTS is then left out.
        trusted_proxies: Addresses and networks of the proxies that say whether a request came
            over https; see `TrustedProxies`, which may be given itself.
        routes: Policies by path, ``"/docs"`` or ``"/embed/*"``; a path that could be read in two
            ways gets *policy*, so keep that the strictest.
        tenants: Policies by tenant id, or a function that returns one or None from memory. It
            is asked for the proven tenant that the response is sent under.

    Raises:
        ConfigError: An argument is not what it should be.
    """

    __slots__ = (
        "_https_kind",
        "_policy",
        "_proxies",
        "_routes",
        "_tenants",
        "app",
    )

    def __init__(
        self,
        app: ASGIApp,
        *,
        policy: SecurityHeaders,
        environment: str = "production",
        trusted_proxies: Iterable[str] | TrustedProxies = (),
        routes: Mapping[str, SecurityHeaders] | None = None,
        tenants: TenantPolicies | None = None,
    ) -> None:
        self.app = app
        self._policy = _checked("policy", policy)
        if not isinstance(environment, str) or not environment:
            raise ConfigError(
                "security_headers.environment", f"{environment!r} is no name", "Write 'production'."
            )
        self._https_kind = PRODUCTION if environment == "production" else HTTPS
        proxies = (
            trusted_proxies
            if isinstance(trusted_proxies, TrustedProxies)
            else TrustedProxies(trusted_proxies)
        )
        self._proxies = proxies or None
        by_path: dict[str, SecurityHeaders | None] = {
            path: _checked(f"routes[{path!r}]", each) for path, each in (routes or {}).items()
        }
        routes_by_path = PathRules(
            by_path, default=None, ambiguous=None, setting="security_headers.routes"
        )
        self._routes = routes_by_path or None
        self._tenants = _look_up(tenants)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # Read now: layers inside may rewrite the scheme, the client and the path.
        https = self._proxies.is_https(scope) if self._proxies else scope.get("scheme") == "https"
        routed = self._routes.of(scope) if self._routes else None
        kind = self._https_kind if https else HTTP
        slot = scope.get(SCOPE_KEY)
        if type(slot) is not NonceSlot or slot.started:
            # An outer instance of this class shares its slot, so that both name one nonce.
            slot = scope[SCOPE_KEY] = NonceSlot()

        def dressed_send(message: MutableMapping[str, Any]) -> Awaitable[None]:
            if message["type"] != "http.response.start":
                return send(message)
            slot.started = True
            variant = self._policy_of(scope, routed).rendered[kind]
            headers = variant.dress(
                message.get("headers", ()),
                scope=scope,
                status=message["status"],
                nonce=slot.value,
            )
            return send({**message, "headers": headers})

        try:
            await self.app(scope, receive, dressed_send)
        except Exception:
            if not slot.started and not _answers_errors(scope.get("app")):
                await send_problem(scope, receive, dressed_send, InternalError())
            raise

    def _policy_of(self, scope: Scope, routed: SecurityHeaders | None) -> SecurityHeaders:
        marked = getattr(scope.get("endpoint"), _MARK, None)
        if marked is not None:
            return marked  # type: ignore[no-any-return]  # set by security_headers() alone
        if routed is not None:
            return routed
        if self._tenants is not None:
            return self._tenant_policy(self._tenants) or self._policy
        return self._policy

    def _tenant_policy(
        self, policy_of: Callable[[str], SecurityHeaders | None]
    ) -> SecurityHeaders | None:
        context = current_context()
        if context is None:
            return None
        try:
            found = policy_of(context.tenant_id)
            return None if found is None else _checked("tenants", found)
        except Exception as error:  # noqa: BLE001 - the default policy is the safe answer
            report(
                "SECURITY_HEADERS_FALLBACK",
                outcome="error",
                reason="tenant_policy_failed",
                details={"error": type(error).__name__},
            )
            return None


def security_headers(policy: SecurityHeaders) -> Callable[[_Endpoint], _Endpoint]:
    """Give one handler a policy of its own, before rules by path and by tenant.

    For Starlette and FastAPI, and every framework that names the handler in
    ``scope["endpoint"]``. Put it next to the function, below the route's decorator.

    Raises:
        ConfigError: *policy* is no `SecurityHeaders`.
    """
    _checked("policy", policy)

    def mark(endpoint: _Endpoint) -> _Endpoint:
        setattr(endpoint, _MARK, policy)
        return endpoint

    return mark


def _checked(argument: str, policy: object) -> SecurityHeaders:
    if isinstance(policy, SecurityHeaders):
        return policy
    raise ConfigError(
        f"security_headers.{argument}",
        f"is a {type(policy).__name__}",
        "Pass a SecurityHeaders, e.g. SecurityHeaders.html().",
    )


def _look_up(tenants: TenantPolicies | None) -> Callable[[str], SecurityHeaders | None] | None:
    if tenants is None or callable(tenants):
        return tenants
    if not isinstance(tenants, Mapping):
        raise ConfigError(
            "security_headers.tenants", f"is a {type(tenants).__name__}", "Pass a mapping."
        )
    return {name: _checked(f"tenants[{name!r}]", each) for name, each in tenants.items()}.get


def _answers_errors(app: object) -> bool:
    """Tell whether the Starlette app around us has its own answer to an unhandled exception."""
    handlers = getattr(app, "exception_handlers", {})
    if Exception in handlers or _SERVER_ERROR in handlers:
        return True
    return getattr(app, "debug", False) is True
