"""session_app: sessions over HTTP, for the services of a tenant that cannot reach the store."""

from __future__ import annotations

from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from asgi_guard._internal.request_id import request_id_of
from asgi_guard._internal.responses import problem_body
from asgi_guard.auth.sessions.bodies import read_body, sid_of_header
from asgi_guard.auth.sessions.openapi import description
from asgi_guard.auth.sessions.record import thawed
from asgi_guard.auth.sessions.service import SessionService
from asgi_guard.auth.sessions.session import AUTH_METHOD, IssuedSession, Session, SessionState
from asgi_guard.errors import (
    AuthenticationError,
    ConfigError,
    GuardError,
    InsufficientScopeError,
    RejectionError,
    TenantAccessError,
    TenantMissingError,
)
from asgi_guard.secret import Secret
from asgi_guard.tenancy import UserExecutionContext, current_context

__all__ = ["SessionNotFoundError", "session_app"]

_NO_STORE: Final = {"cache-control": "no-store"}


class SessionNotFoundError(RejectionError):
    """Unknown, ended and other tenants' sessions: one answer, byte for byte."""

    code = "session_not_found"
    status = 404
    title = "No such session"


def session_app(
    sessions: SessionService,
    *,
    create_scope: str = "sessions:create",
    read_scope: str = "sessions:read",
    write_scope: str = "sessions:write",
    max_bytes: int = 65_536,
) -> Starlette:
    """Make the sub-app, to be mounted inside a guarded app: ``app.mount("/session", ...)``.

    ``POST /create``, ``/validate``, ``/extend``, ``/terminate`` and ``/persist``, ``GET /load``,
    and ``GET /openapi.json``, which describes them. Every caller needs a context and a scope, and
    touches its own tenant's sessions alone. Whoever may create sessions can act as any user of its
    tenant: give that scope to the login service only. It hands out no role or scope that it lacks
    itself, and a browser's own session creates none.

    Args:
        sessions: Of the app.
        create_scope: OAuth scope for ``/create``.
        read_scope: For ``/validate`` and ``/load``.
        write_scope: For ``/extend``, ``/terminate`` and ``/persist``.
        max_bytes: Largest request body.

    Raises:
        ConfigError: A scope is empty, so that anybody would have it.
    """
    if not (create_scope and read_scope and write_scope):
        raise ConfigError("session_app.scope", "is empty", "Name the scope that services have.")

    scopes = {"create": create_scope, "read": read_scope, "write": write_scope}
    calls = _Operations(sessions, scopes=scopes, most=max_bytes)
    posts = (calls.create, calls.validate, calls.extend, calls.terminate, calls.persist)
    app = Starlette(
        routes=[
            *(Route(f"/{each.__name__}", each, methods=["POST"]) for each in posts),
            Route("/load", calls.load, methods=["GET"]),
            Route("/openapi.json", calls.openapi, methods=["GET"]),
        ],
        exception_handlers={GuardError: _problem},
    )
    app.router.redirect_slashes = False  # a client would send the body, and the sid, again
    return app


class _Operations:
    """The operations, each for callers with its scope."""

    def __init__(self, sessions: SessionService, *, scopes: dict[str, str], most: int) -> None:
        self._sessions = sessions
        self._scopes = scopes
        self._most = most

    async def create(self, request: Request) -> Response:
        context = _context(self._scopes["create"])
        optional = ("roles", "scopes", "label", "replaces")
        body = await read_body(request, required=("user_id",), optional=optional, most=self._most)
        _check_grant(context, body)
        issued = await self._sessions.create(tenant_id=context.tenant_id, **body)
        return _json(_issued(issued), 201)

    async def validate(self, request: Request) -> Response:
        sid = await self._sid(request, "read")
        try:
            session = await self._sessions.validate(sid)
        except (AuthenticationError, TenantAccessError):
            return _json({"active": False})
        return _json({"active": True, "session": _shown(session)})

    async def extend(self, request: Request) -> Response:
        sid = await self._sid(request, "write")
        return _json({"session": _shown(await self._sessions.extend(sid))})

    async def terminate(self, request: Request) -> Response:
        sid = await self._sid(request, "write")
        try:
            return _json({"terminated": await self._sessions.terminate(sid)})
        except TenantAccessError:
            return _json({"terminated": False})

    async def persist(self, request: Request) -> Response:
        _context(self._scopes["write"])
        required = ("sid", "data", "version")
        body = await read_body(request, required=required, most=self._most)
        version = int(body["version"])
        kept = await self._sessions.persist(body["sid"], body["data"], version=version)
        return _json({"version": kept.version})

    async def load(self, request: Request) -> Response:
        _context(self._scopes["read"])
        return _json(_state(await self._sessions.load(sid_of_header(request))))

    async def openapi(self, _request: Request) -> Response:
        return _json(description(**self._scopes))

    async def _sid(self, request: Request, right: str) -> Secret:
        _context(self._scopes[right])
        body = await read_body(request, required=("sid",), most=self._most)
        sid: Secret = body["sid"]
        return sid


def _context(scope: str) -> UserExecutionContext:
    context = current_context()
    if context is None:
        raise TenantMissingError
    if scope not in context.scopes:
        raise InsufficientScopeError
    return context


def _check_grant(context: UserExecutionContext, body: dict[str, Any]) -> None:
    if context.auth_method == AUTH_METHOD:
        raise InsufficientScopeError("session_makes_session")
    granted = frozenset(body.get("roles", ())) <= context.roles
    if not granted or not frozenset(body.get("scopes", ())) <= context.scopes:
        raise InsufficientScopeError("rights_beyond_creator")


def _shown(session: Session) -> dict[str, Any]:
    return {
        "session_id": session.session_id,
        "user_id": session.user_id,
        "tenant_id": session.tenant_id,
        "roles": sorted(session.roles),
        "scopes": sorted(session.scopes),
        "label": session.label,
        "created_at": session.created_at,
        "seen_at": session.seen_at,
        "idle_at": session.idle_at,
        "expires_at": session.expires_at,
    }


def _issued(issued: IssuedSession) -> dict[str, Any]:
    return {"sid": issued.sid.reveal(), "session": _shown(issued.session)}


def _state(state: SessionState) -> dict[str, Any]:
    return {"version": state.version, "data": thawed(state.data)}


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return JSONResponse(body, status, _NO_STORE)


async def _problem(request: Request, error: Exception) -> Response:
    """Answer one of our errors; to an authenticated service an ended session is a 404."""
    refused: Exception = error
    if isinstance(error, AuthenticationError | TenantAccessError):
        refused = SessionNotFoundError(error.reason)
    if not isinstance(refused, GuardError):
        raise error
    status, body = problem_body(refused, request_id_of(request.scope))
    return Response(body, status, _NO_STORE, "application/problem+json")
