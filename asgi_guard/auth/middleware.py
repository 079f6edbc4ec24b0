"""AuthenticationMiddleware: one credential, one principal, or a 401."""

from __future__ import annotations

from collections.abc import Iterable

from asgi_guard._internal.asgi import client_of, single_header
from asgi_guard._internal.events import emit, routine_wanted
from asgi_guard._internal.principal import CHALLENGES_KEY, SCOPE_KEY, session_hash
from asgi_guard._internal.request_id import request_id_of
from asgi_guard._internal.responses import send_problem
from asgi_guard.auth.announced import announcing
from asgi_guard.auth.challenges import Challenges
from asgi_guard.auth.socket_lease import serve_leased, take_lease
from asgi_guard.auth.starlette_user import starlette_view
from asgi_guard.errors import (
    AuthenticationError,
    ConfigError,
    RejectionError,
    UnavailableError,
)
from asgi_guard.protocols import ASGIApp, Authenticator, Principal, Receive, Scope, Send

__all__ = ["AuthenticationMiddleware"]

_BAD_REQUEST, _SERVER_ERROR = 400, 500


class AuthenticationMiddleware:
    """Put the principal of each HTTP request and WebSocket into its scope, or refuse it.

    The first authenticator that recognises its credential decides. A connection without any
    credential passes on as nobody: whether that is enough is decided further in, by the tenancy
    middleware. Starlette's ``request.user``, ``request.auth`` and ``@requires`` work.

    Args:
        app: The app inside.
        authenticators: In the order they are asked.

    Raises:
        ConfigError: There is none, or one has no ``authenticate``.

    Refuses with 401 and ``WWW-Authenticate`` (a credential that is not acceptable, two
    Authorization headers) or 503 (an authenticator cannot decide now), or as the
    authenticator itself says (e.g. 429); whatever it raises, never with 400 or 500. A 401 offers
    every scheme that the authenticators name (`Challenger`), also one from further in.
    A WebSocket whose authenticator left a `SocketLease` is closed with 4401 when that ends.
    Each refusal leaves one event ``AUTHENTICATION_FAILED``, unless it has left another already
    (``THROTTLED``); each success one ``AUTHENTICATION_SUCCEEDED``, for readers that want routine
    events. Both carry what the authenticator tells of the credential: ``kid``, ``jti_sha256``,
    ``api_key_id``.
    """

    def __init__(self, app: ASGIApp, *, authenticators: Iterable[Authenticator]) -> None:
        self.app = app
        self._authenticators = tuple(authenticators)
        if not self._authenticators:
            raise ConfigError("authenticators", "is empty", "Pass e.g. BearerJWTAuthenticator.")
        for each in self._authenticators:
            if isinstance(each, type) or not isinstance(each, Authenticator):
                raise ConfigError(
                    "authenticators", f"{each!r} has no authenticate(scope)", "Pass an instance."
                )
        self._challenges = Challenges(self._authenticators)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; lifespan passes untouched."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        take_lease(scope)  # of a middleware outside
        try:
            principal = await self._identify(scope)
        except (RejectionError, UnavailableError) as refusal:
            _report(refusal, scope)
            await send_problem(scope, receive, send, refusal)
            return
        if principal is not None and routine_wanted():
            _report_success(principal, scope)
        # Always set: a mounted app with authenticators of its own must not inherit the principal
        # of the ones outside.
        scope[SCOPE_KEY] = principal
        scope[CHALLENGES_KEY] = self._challenges.plain, self._challenges.failed
        # In place: layers outside read what the router inside writes into the scope (``endpoint``).
        scope["user"], scope["auth"] = starlette_view(principal)
        send = announcing(scope, send)
        lease = take_lease(scope)
        if lease is None:
            await self.app(scope, receive, send)
        else:
            await serve_leased(lease, self.app, scope, receive, send)

    async def _identify(self, scope: Scope) -> Principal | None:
        try:
            single_header(scope, b"authorization")
            for authenticator in self._authenticators:
                principal = await authenticator.authenticate(scope)
                if principal is not None:
                    return principal
        except AuthenticationError as refusal:
            self._challenges.complete(refusal)
            raise
        except RejectionError as refused:
            answer = self._answerable(refused)
            if answer is refused:
                raise
            raise answer from None
        except UnavailableError:
            raise
        except Exception as failure:
            raise UnavailableError("authenticator_failed") from failure
        return None

    def _answerable(self, refused: RejectionError) -> RejectionError | UnavailableError:
        """Return *refused*, or what may be said in its place: no 400, and no 500."""
        answer: RejectionError | UnavailableError = refused
        if refused.status == _BAD_REQUEST:  # two headers, or a token that an authenticator renews
            answer = AuthenticationError(refused.reason, headers=self._challenges.failed)
        elif refused.status >= _SERVER_ERROR:
            answer = UnavailableError(refused.reason)
        answer.details, answer.reported = refused.details, refused.reported
        return answer


def _report_success(principal: Principal, scope: Scope) -> None:
    """Leave the event of a request that went well, for readers that want one for each."""
    emit(
        "AUTHENTICATION_SUCCEEDED",
        outcome="allowed",
        routine=True,
        request_id=request_id_of(scope),
        tenant_id=principal.tenant_id,
        user_id=principal.user_id,
        session_id=session_hash(principal.session_id),
        auth_method=principal.auth_method,
        details=principal.details,
        client=client_of(scope),
    )


def _report(refusal: RejectionError | UnavailableError, scope: Scope) -> None:
    """Leave the one event of a refusal: the reason, and nothing of the credential."""
    if refusal.reported:
        return
    details = {**refusal.details, "code": refusal.code}
    if refusal.__cause__ is not None:
        details["error"] = type(refusal.__cause__).__name__
    emit(
        "AUTHENTICATION_FAILED",
        outcome="denied" if isinstance(refusal, RejectionError) else "error",
        reason=refusal.reason,
        details=details,
        request_id=request_id_of(scope),
        client=client_of(scope),
    )
