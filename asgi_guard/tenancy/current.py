"""The one home of ContextVars: who code runs for, and what must decide its request's answer."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any, Generic, TypeVar

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.errors import ConfigError, ContextExpiredError, ContextMissingError, GuardError
from asgi_guard.protocols import Clock
from asgi_guard.tenancy.context import UserExecutionContext

__all__ = [
    "RequestWatch",
    "current_context",
    "current_watch",
    "end_watch",
    "entered_context",
    "new_variable",
    "no_context",
    "note_failure",
    "process_mark",
    "require_context",
    "start_watch",
    "use_context",
    "use_watch",
]


T = TypeVar("T")
C = TypeVar("C", bound=UserExecutionContext | None)


class RequestWatch:
    """What must decide the answer of one request: told by `note_failure`, read by who answers.

    It is shared by every task and thread that the request's context reaches, so a violation in a
    child task is seen by the layer that sends the response.
    """

    __slots__ = ("failure",)

    def __init__(self) -> None:
        self.failure: GuardError | None = None


def _new_variable() -> ContextVar[UserExecutionContext | None]:
    return ContextVar("asgi_guard_context", default=None)


def _new_watch() -> ContextVar[RequestWatch | None]:
    return ContextVar("asgi_guard_watch", default=None)


def new_variable(name: str, _kind: type[T]) -> ContextVar[T | None]:
    """Make the ContextVar of another room's marker; that room clears it after a fork."""
    return ContextVar(name, default=None)


_current = _new_variable()
_watch = _new_watch()


def current_context(*, clock: Clock = SYSTEM_CLOCK) -> UserExecutionContext | None:
    """Return the context that this code runs under, or None.

    An expired one is none: a job or socket that outlives its credential reads no further row.

    Args:
        clock: Where "now" comes from.
    """
    context = _current.get()
    if context is None or (end := context.expires_at) is None or clock.now() < end:
        return context
    return None


def require_context(operation: str = "", *, clock: Clock = SYSTEM_CLOCK) -> UserExecutionContext:
    """Return the context that this code runs under.

    Args:
        operation: Name of what needs it, for the error.
        clock: Where "now" comes from.

    Raises:
        ContextMissingError: There is none: outside a request, or behind a bare thread or
            executor that did not inherit it.
        ContextExpiredError: There is one, and the credential behind it has expired.
    """
    context = current_context(clock=clock)
    if context is not None:
        return context
    if _current.get() is not None:
        raise ContextExpiredError(operation)
    raise ContextMissingError(operation)


def entered_context() -> UserExecutionContext | None:
    """Return what was entered, expired or not: for events about it, never to act under it."""
    return _current.get()


class _Block(Generic[C]):
    """A ``with`` block under one context, or under none; entered once."""

    # Not contextlib's: two blocks a request through a generator cost as much as all the rest of
    # what the tenancy middleware does with the context.
    __slots__ = ("_context", "_token")

    def __init__(self, context: C) -> None:
        self._context = context
        self._token: Token[UserExecutionContext | None] | None = None

    def __enter__(self) -> C:
        if self._token is not None:
            raise ConfigError("use_context", "was entered twice", "Call it for each block.")
        self._token = _current.set(self._context)
        return self._context

    def __exit__(self, *_error: object) -> None:
        if self._token is not None:
            # The token's own variable: in a child that was forked inside the block it is not ours.
            self._token.var.reset(self._token)


def use_context(context: UserExecutionContext) -> _Block[UserExecutionContext]:
    """Run a block under *context*; what was current before is current again afterwards.

    ::

        with use_context(context):
            ...

    Do not ``yield`` from a generator inside the block: between two steps Python leaves the value
    set for whoever consumes the generator. Enter it around the loop that consumes instead. An
    async generator that was left half-way is cleaned up under no context.

    Raises:
        ConfigError: *context* is not a `UserExecutionContext`, or the block is entered twice.
    """
    if not isinstance(context, UserExecutionContext):
        raise ConfigError(
            "use_context(context)",
            f"got a {type(context).__name__}",
            "Pass a UserExecutionContext.",
        )
    _clean_up_for_nobody()
    return _Block(context)


def no_context() -> _Block[None]:
    """Run a block under no context, whatever was inherited.

    A server may start the next request of a connection from inside the task of the one before
    (pipelining does, in uvicorn): the new task then begins with a copy of the other's context.
    """
    return _Block(None)


def process_mark() -> object:
    """Return an object that is another one in each forked child."""
    return _current


def start_watch() -> tuple[RequestWatch, Token[RequestWatch | None]]:
    """Begin to watch one request; hand the token to `end_watch` when it is over."""
    watch = RequestWatch()
    return watch, _watch.set(watch)


def end_watch(token: Token[RequestWatch | None]) -> None:
    """Stop watching; what was watched before is watched again."""
    token.var.reset(token)  # in a forked child, the variable of its parent


def current_watch() -> RequestWatch | None:
    """Return what watches the request that this code belongs to, if anything does."""
    return _watch.get()


@contextmanager
def use_watch(watch: RequestWatch | None) -> Iterator[None]:
    """Run a block for the request of *watch*, wherever the block runs."""
    variable = _watch
    token = variable.set(watch)
    try:
        yield
    finally:
        variable.reset(token)


def note_failure(error: GuardError) -> None:
    """Let *error* answer the request that this code belongs to; the first one is kept."""
    watch = _watch.get()
    if watch is not None and watch.failure is None:
        watch.failure = error


class _ForNobody:
    """What the event loop does with an abandoned async generator (PEP 525), under no context.

    The garbage collector calls it, whoever's turn it is: the clean-up would run as them.
    """

    __slots__ = ("_finalizer",)

    def __init__(self, finalizer: Callable[[AsyncGenerator[Any, Any]], None]) -> None:
        self._finalizer = finalizer

    def __call__(self, generator: AsyncGenerator[Any, Any]) -> None:
        with no_context(), use_watch(None):
            self._finalizer(generator)


def _clean_up_for_nobody() -> None:
    # The loop puts its own hook in place at each start, and takes it away at its end.
    finalizer = sys.get_asyncgen_hooks().finalizer
    if finalizer is not None and type(finalizer) is not _ForNobody:
        sys.set_asyncgen_hooks(finalizer=_ForNobody(finalizer))


def _forget_after_fork() -> None:
    # A pool's worker forked inside a request would otherwise serve every later tenant as its
    # first: a new variable makes each inherited value unreachable, in copied contexts as well.
    global _current, _watch
    _current, _watch = _new_variable(), _new_watch()


os.register_at_fork(after_in_child=_forget_after_fork)
