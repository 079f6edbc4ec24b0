"""The pages that every host under test serves.

``/whoami`` and ``/health`` (public) tell who they run for, ``/boom`` fails, ``/refused`` says no,
``/violation`` crosses a wall, ``/swallow`` hides that it did; ``/only-post`` takes POST alone and
``/socket`` is a WebSocket that tells who it runs for, ``/refusing`` one that says no unaccepted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from asgi_guard.errors import InsufficientScopeError
from asgi_guard.rls.violations import not_enforced
from asgi_guard.tenancy import current_context

__all__ = ["PAGES", "Lives", "lifespan", "posted", "refuse", "who"]

Lives = list[str]
"""What a host's own start-up and shutdown have written down."""


def who() -> str:
    context = current_context()
    return "nobody" if context is None else f"{context.user_id} in {context.tenant_id}"


def _violate() -> str:
    raise not_enforced("a statement ran for nobody", reason="no_tenant")


def _swallow() -> str:
    try:
        return _violate()
    except Exception:
        return "all is well"


def refuse() -> str:
    """Say no."""
    raise InsufficientScopeError("scope_missing")


def _boom() -> str:
    raise RuntimeError("the app has a bug")


PAGES: dict[str, Callable[[], str]] = {
    "/whoami": who,
    "/health": who,
    "/boom": _boom,
    "/refused": refuse,
    "/violation": _violate,
    "/swallow": _swallow,
}


def posted() -> str:
    """Answer what only POST may have."""
    return "posted"


def lifespan(lives: Lives) -> Any:
    """Return a lifespan that writes down when it runs."""

    @asynccontextmanager
    async def life(_app: Any) -> AsyncIterator[None]:
        lives.append("started")
        yield
        lives.append("stopped")

    return life
