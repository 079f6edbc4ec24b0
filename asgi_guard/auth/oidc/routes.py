"""The addresses of a login, as an ASGI app to mount; each refusal is one answer and one event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router

from asgi_guard._internal.request_id import request_id_of
from asgi_guard._internal.responses import problem_body
from asgi_guard.auth.oidc.browser import Redirect
from asgi_guard.auth.oidc.code_flow import CodeFlow, Notes
from asgi_guard.auth.oidc.logout import MOST_FORM_BYTES, LogoutFlows
from asgi_guard.auth.oidc.refusal import refuse
from asgi_guard.auth.oidc.reporting import report_refused
from asgi_guard.errors import GuardError, RejectionError, UnavailableError
from asgi_guard.protocols import Clock

__all__ = ["RefusalPage", "login_router"]

RefusalPage = Callable[[Request, GuardError], Awaitable[Response]]
_Step = Callable[[Request, Notes], Awaitable[Response]]
_FORM: Final = "application/x-www-form-urlencoded"
_NO_STORE: Final = {"cache-control": "no-store", "referrer-policy": "no-referrer"}


def login_router(
    code_flow: CodeFlow,
    logouts: LogoutFlows,
    *,
    on_refused: RefusalPage | None,
    clock: Clock,
) -> Router:
    """Make the app.

    Args:
        code_flow: Logs in.
        logouts: Log out.
        on_refused: Makes the page of a refusal for browsers.
        clock: Where events' times come from.
    """

    async def login(request: Request, notes: Notes) -> Response:
        name = request.path_params["provider"]
        return _sent(await code_flow.begin(request.scope, name, notes))

    async def callback(request: Request, notes: Notes) -> Response:
        name = request.path_params["provider"]
        return _sent(await code_flow.complete(request.scope, name, notes))

    async def logout(request: Request, notes: Notes) -> Response:
        return _sent(await logouts.leave(request.scope, notes))

    async def logged_out(request: Request, _notes: Notes) -> Response:
        return _sent(await logouts.arrive(request.scope))

    async def backchannel(request: Request, notes: Notes) -> Response:
        await logouts.told(request.scope, await _form(request), notes)
        return Response(status_code=200, headers=_NO_STORE)

    def page(step: _Step, event: str, *, method: str = "GET") -> Callable[..., Awaitable[Response]]:
        return _guarded(step, event, method=method, answer=on_refused or _problem, clock=clock)

    told = _guarded(
        backchannel, "OIDC_BACKCHANNEL_LOGOUT", method="POST", answer=_invalid, clock=clock
    )
    return Router(
        [
            Route("/login/{provider}", page(login, "OIDC_LOGIN_REFUSED")),
            Route("/callback/{provider}", page(callback, "OIDC_LOGIN_REFUSED")),
            Route("/logout", page(logout, "OIDC_LOGOUT", method="POST"), methods=["POST"]),
            Route("/logged-out", page(logged_out, "OIDC_LOGOUT")),
            Route("/backchannel-logout", told, methods=["POST"]),
        ],
        redirect_slashes=False,
    )


def _guarded(
    step: _Step, event: str, *, method: str, answer: RefusalPage, clock: Clock
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        if request.method != method:  # Starlette adds HEAD, which must not use up a state
            return Response(status_code=405, headers={"allow": method})
        notes: Notes = {}
        try:
            return await step(request, notes)
        except (RejectionError, UnavailableError) as error:
            report_refused(event, request.scope, error, clock=clock, details=notes)
            return await answer(request, error)
        except Exception as error:
            report_refused(event, request.scope, error, clock=clock, details=notes)
            raise

    return endpoint


async def _form(request: Request) -> bytes:
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if sent != _FORM:
        refuse("form_media_type")
    body = bytearray()
    gone = False
    try:
        async for part in request.stream():
            body += part
            if len(body) > MOST_FORM_BYTES:
                break
    except ClientDisconnect:
        gone = True
    if gone:
        refuse("form_incomplete")
    if len(body) > MOST_FORM_BYTES:
        refuse("parameters_too_long")
    return bytes(body)


def _sent(redirect: Redirect) -> Response:
    response = Response(status_code=303, headers={**_NO_STORE, "location": redirect.location})
    response.raw_headers += redirect.headers
    return response


async def _problem(request: Request, error: GuardError) -> Response:
    status, body = problem_body(error, request_id_of(request.scope))
    response = Response(body, status, _NO_STORE, "application/problem+json")
    response.raw_headers += getattr(error, "headers", ())
    return response


async def _invalid(request: Request, error: GuardError) -> Response:
    """Answer a provider as Back-Channel Logout 1.0 section 2.8 asks."""
    if isinstance(error, UnavailableError):
        return await _problem(request, error)
    return JSONResponse({"error": "invalid_request"}, 400, _NO_STORE)
