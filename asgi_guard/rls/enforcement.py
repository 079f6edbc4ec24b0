"""`assert_rls_enforced` and `@require_rls`: the walls a programmer can see in the code."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, ParamSpec, TypeVar, overload

from asgi_guard.errors import ConfigError
from asgi_guard.rls.binding.handles import inspector_of
from asgi_guard.rls.binding.identity import require_tenant
from asgi_guard.rls.crossing import current_crossing
from asgi_guard.rls.violations import mismatch, not_enforced
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import current_context

__all__ = ["assert_rls_enforced", "require_rls"]

P = ParamSpec("P")
R = TypeVar("R")


def assert_rls_enforced(allow_system: bool = False) -> None:  # noqa: FBT001, FBT002 - the documented signature
    """Raise unless this code runs for a tenant.

    Args:
        allow_system: Let code inside `system_session` pass as well.

    Raises:
        RLSViolationError: There is no tenant (``RLS_NOT_ENFORCED``); the event is emitted.
    """
    if current_context() is None and not (allow_system and current_crossing() is not None):
        require_tenant()


@overload
def require_rls(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def require_rls(*, operation: str) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def require_rls(function: Any = None, /, *, operation: str = "") -> Any:
    """Decorate a function so that it runs for a tenant, on guarded database handles, or not at all.

    Works on sync and async functions, methods, handlers, dependencies and generators of both
    kinds; the signature survives, so FastAPI reads it as before. The context is looked at when
    the body begins to run and, in generators, at every resumption. Each argument that is an
    engine, connection, session, session maker or pool must be guarded, and where it is bound
    to a tenant already, to this one. Handles inside other objects are not looked for.

    Args:
        function: What to decorate, when used as plain ``@require_rls``.
        operation: Name for errors and events, e.g. ``"notes.list"``; the function's own name
            by default.

    Raises:
        ConfigError: It decorates a class or something that is not callable.
        RLSViolationError: When called: no tenant or an unguarded handle (``RLS_NOT_ENFORCED``),
            a handle of another tenant (``TENANT_MISMATCH``). The body has not run.
    """
    if function is None:
        return functools.partial(_decorate, operation=operation)
    return _decorate(function, operation=operation)


def _decorate(function: Any, *, operation: str) -> Any:
    if isinstance(function, staticmethod | classmethod):
        return type(function)(_decorate(function.__func__, operation=operation))
    if isinstance(function, type) or not callable(function):
        raise ConfigError(
            "require_rls",
            f"{getattr(function, '__name__', function)!r} is no function or method",
            "Decorate the functions that use the database.",
        )
    name = operation or getattr(function, "__qualname__", type(function).__qualname__)
    wrapped = functools.wraps(function)(_wrapper_for(function)(function, name))
    wrapped.__signature__ = _signature(function)  # type: ignore[attr-defined]
    return wrapped


def _wrapper_for(function: Any) -> Callable[[Any, str], Callable[..., Any]]:
    plain = function
    while isinstance(plain, functools.partial):
        plain = plain.func
    seen = (plain, getattr(type(plain), "__call__", None))  # noqa: B004 - an object's own __call__
    if any(inspect.isasyncgenfunction(one) for one in seen):
        return _async_generator
    if any(inspect.iscoroutinefunction(one) for one in seen):
        return _coroutine
    if any(inspect.isgeneratorfunction(one) for one in seen):
        return _generator
    return _function


def _signature(function: Any) -> inspect.Signature:
    """Read the signature, with string annotations resolved in the function's own module."""
    try:
        return inspect.signature(function, eval_str=True)
    except Exception:  # noqa: BLE001 - a name that exists for type checkers only raises anything
        return inspect.signature(function)


def _function(function: Any, operation: str) -> Callable[..., Any]:
    def guarded(*args: Any, **kwargs: Any) -> Any:
        _check(args, kwargs, operation)
        return function(*args, **kwargs)

    return guarded


def _coroutine(function: Any, operation: str) -> Callable[..., Any]:
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        _check(args, kwargs, operation)
        return await function(*args, **kwargs)

    return guarded


def _generator(function: Any, operation: str) -> Callable[..., Any]:
    def guarded(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        owner = _check(args, kwargs, operation)
        inner = function(*args, **kwargs)
        return (yield from _Steps(inner, owner, operation))

    return guarded


class _Steps(Generator[Any, Any, Any]):
    """A generator that looks at the context before each step; closing needs no tenant."""

    def __init__(self, inner: Any, owner: UserExecutionContext, operation: str) -> None:
        self._inner = inner
        self._owner = owner
        self._operation = operation

    def send(self, value: Any) -> Any:
        """Take one step."""
        _require_owner(self._owner, self._operation)
        return self._inner.send(value)

    def throw(self, *error: Any) -> Any:
        """Take one step with an exception, which must arrive whoever throws it."""
        value = self._inner.throw(*error)
        _require_owner(self._owner, self._operation)
        return value

    def close(self) -> None:
        """End, whoever asks."""
        self._inner.close()


def _async_generator(function: Any, operation: str) -> Callable[..., Any]:
    async def guarded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        owner = _check(args, kwargs, operation)
        inner = function(*args, **kwargs)
        try:
            step = inner.__anext__()
            while True:
                try:
                    value = await step
                except StopAsyncIteration:
                    return
                try:
                    sent = yield value
                except GeneratorExit:
                    raise
                except BaseException as error:  # noqa: BLE001 - it is the inner generator's to handle
                    step = _thrown(inner, error, owner, operation)
                else:
                    _require_owner(owner, operation)
                    step = inner.asend(sent)
        finally:
            await inner.aclose()

    return guarded


async def _thrown(inner: Any, error: BaseException, owner: Any, operation: str) -> Any:
    """Let *error* arrive whoever throws it; what is answered is the owner's."""
    value = await inner.athrow(error)
    _require_owner(owner, operation)
    return value


def _check(args: tuple[Any, ...], kwargs: dict[str, Any], operation: str) -> UserExecutionContext:
    """Check the context and every argument; a few hundred nanoseconds without handles."""
    context = require_tenant(operation)
    for value in args:
        if (look := inspector_of(type(value))) is not None:
            _check_handle(look(value), context, operation)
    for value in kwargs.values():
        if (look := inspector_of(type(value))) is not None:
            _check_handle(look(value), context, operation)
    return context


def _check_handle(finding: Any, context: UserExecutionContext, operation: str) -> None:
    if finding.variables is None:
        raise not_enforced(
            "a database handle among the arguments is not guarded. Make it with guarded_engine "
            "or create_guarded_pool",
            reason="unguarded_handle",
            operation=operation,
        )
    if finding.tenant_id is not None and finding.tenant_id != context.tenant_id:
        raise mismatch(
            "a database handle among the arguments belongs to another tenant",
            reason="handle_of_another",
            operation=operation,
        )


def _require_owner(owner: UserExecutionContext, operation: str) -> None:
    if not require_tenant(operation).same_identity(owner):
        raise mismatch(
            "a generator was resumed under another tenant's or user's context",
            reason="resumed_by_another",
            operation=operation,
        )
