"""Quart: errors of ours keep their status; Quart would answer each with a 500 of its own.

``Guard(settings).install(app)`` calls this for a Quart app, and wraps ``app.asgi_app``.
"""

from __future__ import annotations

from quart import Quart

from asgi_guard.errors import GuardError
from asgi_guard.tenancy.current import note_failure

__all__ = ["answer_guard_errors"]


def answer_guard_errors(app: object) -> None:
    """Let `GuardError` decide the answer in *app*, if it is Quart's; a handler it has stays."""
    if isinstance(app, Quart) and GuardError not in app.error_handler_spec[None][None]:
        app.register_error_handler(GuardError, _noted)


async def _noted(error: GuardError) -> tuple[str, int]:
    note_failure(error)
    return "", 500  # FailClosedMiddleware puts the problem in its place
