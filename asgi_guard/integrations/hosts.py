"""Which framework an app is of, without importing one that is not there."""

from __future__ import annotations

import sys
from importlib import import_module

__all__ = ["is_a", "keep_status_of_errors"]


def is_a(app: object, module: str, name: str) -> bool:
    """Tell whether *app* is of a framework's class; there is no instance without its module."""
    return isinstance(app, getattr(sys.modules.get(module), name, ()))


def keep_status_of_errors(app: object) -> None:
    """Tell a framework that answers every unknown error with a 500 about ours."""
    for name in ("django", "litestar", "quart"):
        if name in sys.modules:  # no app of it without it
            import_module(f"asgi_guard.integrations.{name}").answer_guard_errors(app)
