"""The one ContextVar, and the only ways to set and read it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from asgi_guard.errors import ConfigError, ContextMissingError
from asgi_guard.tenancy.context import UserExecutionContext

__all__ = ["current_context", "require_context", "use_context"]


def _new_variable() -> ContextVar[UserExecutionContext | None]:
    return ContextVar("asgi_guard_context", default=None)


_current = _new_variable()


def current_context() -> UserExecutionContext | None:
    """Return the context that this code runs under, or None."""
    return _current.get()


def require_context(operation: str = "") -> UserExecutionContext:
    """Return the context that this code runs under.

    Args:
        operation: Name of what needs it, for the error.

    Raises:
        ContextMissingError: There is none: outside a request, or behind a bare thread or
            executor that did not inherit it.
    """
    context = _current.get()
    if context is None:
        raise ContextMissingError(operation)
    return context


@contextmanager
def use_context(context: UserExecutionContext) -> Iterator[UserExecutionContext]:
    """Run a block under *context*; what was current before is current again afterwards.

    Raises:
        ConfigError: *context* is not a `UserExecutionContext`.
    """
    if not isinstance(context, UserExecutionContext):
        raise ConfigError(
            "use_context(context)",
            f"got a {type(context).__name__}",
            "Pass a UserExecutionContext.",
        )
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


def _forget_after_fork() -> None:
    # A pool's worker forked inside a request would otherwise serve every later tenant as its
    # first: a new variable makes each inherited value unreachable, in copied contexts as well.
    global _current  # noqa: PLW0603 - the point is to replace it
    _current = _new_variable()


os.register_at_fork(after_in_child=_forget_after_fork)
