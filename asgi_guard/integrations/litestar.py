"""Litestar: errors of ours keep their status; Litestar would answer each with a 500 of its own.

``app = Guard(settings).install(app)`` calls this for a Litestar app; serve what comes back.
"""

from __future__ import annotations

from typing import Any

from litestar import Litestar, Request, Response
from litestar.enums import ScopeType
from litestar.types import Scope

from asgi_guard.errors import GuardError
from asgi_guard.tenancy.current import note_failure

__all__ = ["answer_guard_errors"]


def answer_guard_errors(app: object) -> None:
    """Let `GuardError` decide the answer in *app*, if it is Litestar's; its own handlers stay."""
    if isinstance(app, Litestar):
        app.exception_handlers.setdefault(GuardError, _noted)
        app.after_exception.append(_note_in_sockets)


def _noted(_request: Request[Any, Any, Any], error: GuardError) -> Response[None]:
    note_failure(error)
    return Response(None, status_code=500)  # FailClosedMiddleware puts the problem in its place


async def _note_in_sockets(error: Exception, scope: Scope) -> None:
    # Exception handlers are asked about HTTP alone.
    if scope["type"] == ScopeType.WEBSOCKET and isinstance(error, GuardError):
        note_failure(error)
