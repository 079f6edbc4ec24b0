"""Starlette and FastAPI: guarded in place, outside their own error handling.

A Starlette app answers its own errors in its outermost layer, so ``app.add_middleware`` always
lands inside of it and an unhandled 500 would go out bare. Here the layers are put around the whole
middleware stack of the instance, when the app builds it: ``uvicorn main:app``, test clients and
later ``add_middleware`` calls keep working on the same object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute
from starlette.websockets import WebSocket

from asgi_guard._internal.guard_marks import INSTALLED
from asgi_guard._internal.responses import send_problem
from asgi_guard.errors import ConfigError, GuardError
from asgi_guard.protocols import ASGIApp, Receive, Scope, Send
from asgi_guard.tenancy.current import note_failure
from asgi_guard.tenancy.fail_closed import record_error

__all__ = ["answer_guard_errors", "install_in_place", "mounted_apps"]


def install_in_place(app: Starlette, wrap: Callable[[ASGIApp], ASGIApp]) -> None:
    """Put what *wrap* returns around the whole of *app*, error handling included.

    Args:
        app: An instance that has not served anything yet.
        wrap: Takes the middleware stack, once, and returns the guarded one.

    Raises:
        ConfigError: *app* has already built its stack.
    """
    if app.middleware_stack is not None:
        raise ConfigError(
            "Guard.install(app)",
            "the app has already served a request, so its layers are fixed",
            "Install the guard where the app is made, before the server or test client runs it.",
        )
    build = app.build_middleware_stack

    def build_guarded() -> Any:
        for inner in mounted_apps(app.routes):
            if isinstance(inner, Starlette):
                answer_guard_errors(inner)
        own = app.user_middleware
        app.user_middleware = [Middleware(_NoteGuardErrors), *own]
        try:
            return wrap(build())
        finally:
            app.user_middleware = own

    answer_guard_errors(app)
    setattr(app, INSTALLED, True)
    app.build_middleware_stack = build_guarded  # type: ignore[method-assign]


def mounted_apps(routes: Iterable[BaseRoute]) -> Iterator[object]:
    """Give every app that hangs below *routes*, through mounts and hosts, at any depth."""
    for route in routes:
        inner = getattr(route, "app", None)
        if inner is not None:
            yield inner
        yield from mounted_apps(getattr(route, "routes", None) or ())


def answer_guard_errors(app: Starlette) -> None:
    """Answer `GuardError` with its problem in *app*; a handler that *app* has of its own stays."""
    app.exception_handlers.setdefault(GuardError, _to_problem)


async def _to_problem(connection: HTTPConnection, error: Exception) -> Any:
    """Return the answer to *error*, in the shape of a Starlette exception handler."""
    if isinstance(connection, WebSocket) or not isinstance(error, GuardError):
        raise error  # the layers outside know whether the handshake is still open
    record_error(error)

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        await send_problem(scope, receive, send, error)

    return respond


class _NoteGuardErrors:
    """Let an error that an app's own middleware raises keep its status.

    Starlette's ``ServerErrorMiddleware`` stands outside of every added middleware and answers all
    errors with a 500 of its own; `FailClosedMiddleware` replaces it by the one noted here.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except GuardError as error:
            note_failure(error)
            raise
