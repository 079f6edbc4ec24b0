"""propagate: carry the current context across a boundary that would lose it.

``threading.Thread`` and ``loop.run_in_executor`` start with an empty `contextvars` context, so
guarded work refuses there. That is the safe default: which request a pool's thread works for is
known only to the code that hands it the work, and it says so by ``propagate(fn)``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast

from asgi_guard.errors import ConfigError, ContextMissingError
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import (
    RequestWatch,
    current_watch,
    process_mark,
    require_context,
    use_context,
    use_watch,
)

__all__ = ["propagate"]

P = ParamSpec("P")
R = TypeVar("R")


def propagate(fn: Callable[P, R]) -> Callable[P, R]:
    """Return *fn* bound to the context that is current now, wherever it is called later.

    ::

        threading.Thread(target=propagate(work)).start()
        await loop.run_in_executor(pool, propagate(work), argument)

    Args:
        fn: A function, sync or async. Each call runs under the captured context, and what was
            current at the place of the call is current again afterwards.

    Raises:
        ContextMissingError: No context is current now; or, when the result is called, the
            process was forked since (a child process starts without a context).
        ConfigError: *fn* is a generator function: between two of its steps the context would be
            left with whoever consumes it.

    Does not prolong the context: once its credential has expired, guarded work refuses.
    """
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise ConfigError(
            "propagate(fn)",
            f"{_name(fn)} is a generator function",
            "Propagate the function that consumes it.",
        )
    operation = f"propagate({_name(fn)})"
    origin = _Origin(require_context(operation), current_watch(), process_mark(), operation)
    if inspect.iscoroutinefunction(fn):

        @wraps(fn)
        async def call_async(*args: P.args, **kwargs: P.kwargs) -> Any:
            with origin.entered():
                return await fn(*args, **kwargs)

        return cast("Callable[P, R]", call_async)

    @wraps(fn, updated=())
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with origin.entered():
            result = fn(*args, **kwargs)
        if inspect.iscoroutine(result):  # a lambda or an object with an async __call__
            return cast("R", _finish(result, origin))
        return result

    return call


class _Origin(NamedTuple):
    """Where a function was propagated from."""

    context: UserExecutionContext
    watch: RequestWatch | None
    mark: object
    operation: str

    @contextmanager
    def entered(self) -> Iterator[None]:
        if self.mark is not process_mark():
            raise ContextMissingError(self.operation)
        with use_watch(self.watch), use_context(self.context):
            yield


async def _finish(coroutine: Coroutine[Any, Any, Any], origin: _Origin) -> Any:
    with origin.entered():
        return await coroutine


def _name(fn: Callable[..., Any]) -> str:
    return getattr(fn, "__qualname__", type(fn).__qualname__)
