"""Django: errors of ours keep their status; Django would answer each with its 500 page.

``application = Guard(settings).install(get_asgi_application())`` calls this.
"""

from __future__ import annotations

import sys
from typing import Any

from django.core.handlers.asgi import ASGIHandler  # type: ignore[import-untyped]
from django.core.signals import got_request_exception  # type: ignore[import-untyped]

from asgi_guard.errors import GuardError
from asgi_guard.tenancy.current import note_failure

__all__ = ["answer_guard_errors"]


def answer_guard_errors(app: object) -> None:
    """Let `GuardError` decide the answer in *app*, if it is Django's.

    A middleware of the project that answers the exception itself stays in charge.
    """
    if isinstance(app, ASGIHandler):
        got_request_exception.connect(_note, dispatch_uid="asgi_guard")


def _note(**_signal: Any) -> None:
    error = sys.exc_info()[1]  # the signal is sent while the exception is handled
    if isinstance(error, GuardError):
        note_failure(error)
