"""tenant_tool: a function that a model may call, for the user it works for and with no more rights.

::

    @tenant_tool("notes.search", scopes={"notes:read"}, database=engine)
    async def search_notes(words: str, *, session: AsyncSession) -> list[str]:
        found = await session.scalars(select(Note.text).where(Note.text.contains(words)))
        return list(found)

The framework around it (LangChain, MCP, pydantic-ai …) sees a function of ``words`` alone.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Final, ParamSpec, TypeVar

from sqlalchemy.engine import Result
from sqlalchemy.ext.asyncio import AsyncResult

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.errors import ConfigError, ContextContaminationError, InsufficientScopeError
from asgi_guard.protocols import Clock
from asgi_guard.rls import require_rls, rls_enforced_session
from asgi_guard.rls.binding.handles import inspector_of
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import require_context, use_context
from asgi_guard.tenancy.reporting import report
from asgi_guard.tenancy.state import ExecutionState

__all__ = ["tenant_tool"]

P = ParamSpec("P")
R = TypeVar("R")

_SESSION: Final = "session"
_DEPTH: Final = 8
_LIVE: Final = (
    ExecutionState,
    UserExecutionContext,
    Result,
    AsyncResult,
    GeneratorType,
    AsyncGeneratorType,
    CoroutineType,
)


def tenant_tool(
    operation: str,
    *,
    scopes: Iterable[str] = (),
    roles: Iterable[str] = (),
    database: Any = None,
    clock: Clock = SYSTEM_CLOCK,
) -> Callable[[Callable[P, R]], Callable[..., R]]:
    """Decorate a function, sync or async, that a model may call.

    Each call needs a context that has not expired. The body runs under its
    ``child(operation)``, which has the scopes and roles named here and no others, so a tool that
    was talked into something else cannot use the rest of what its user may do. Database handles
    among the arguments must be guarded and the tenant's, as with `require_rls`.

    What it returns is data: a handle, a lazy result, a generator, a coroutine, a context or a
    state, in lists and dicts too, would be used after the call and is refused
    (``CONTEXT_CONTAMINATION``).

    Args:
        operation: Name for errors and events, e.g. ``"notes.search"``.
        scopes: OAuth scopes that the tool needs; the context must have all of them.
        roles: Roles that the tool needs; the same.
        database: What `rls_enforced_session` takes. Each call then gets a session of its own as
            the keyword argument ``session``, which is no part of the signature that models see
            and which they cannot pass. It is committed at the end, rolled back on an error.
        clock: Tells whether the context has expired.

    Raises:
        ConfigError: *operation* is empty, the function is a generator function, or it takes no
            ``session`` although *database* is given.

    A call raises `ContextMissingError`, `InsufficientScopeError` or `RLSViolationError`; then the
    body has not run.
    """
    if not operation or not isinstance(operation, str):
        raise ConfigError("tenant_tool(operation)", "is empty", "Name it, e.g. 'notes.search'.")
    tool = _Tool(operation, _names(scopes), _names(roles), database, clock)
    return tool.around


class _Tool:
    """The settings of one decorated tool."""

    def __init__(
        self,
        operation: str,
        scopes: frozenset[str],
        roles: frozenset[str],
        database: Any,
        clock: Clock,
    ) -> None:
        self.operation = operation
        self.scopes = scopes
        self.roles = roles
        self.database = database
        self.clock = clock

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        signature = self._signature(function)
        body = require_rls(operation=self.operation)(function)
        own_call = getattr(type(function), "__call__", None)  # noqa: B004 - an object's own
        is_async = any(map(inspect.iscoroutinefunction, (function, own_call)))
        wrap = self._async if is_async else self._sync
        wrapped = functools.wraps(function)(wrap(body, signature))
        # Frameworks read both, and hand the model what they find. __wrapped__ would lead them on.
        hidden = {_SESSION} if self.database is not None else set()
        annotations = getattr(body, "__annotations__", {})
        wrapped.__annotations__ = {k: v for k, v in annotations.items() if k not in hidden}
        wrapped.__signature__ = signature  # type: ignore[attr-defined]
        del wrapped.__wrapped__
        return wrapped

    def _signature(self, function: Callable[..., Any]) -> inspect.Signature:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigError(
                "tenant_tool", f"{_name(function)} is a generator", "Return a list instead."
            )
        signature = inspect.signature(function)
        if self.database is None:
            return signature
        if _SESSION not in signature.parameters:
            raise ConfigError(
                "tenant_tool(database)",
                f"{_name(function)} takes no `session`",
                "Add the keyword argument, or leave `database` out.",
            )
        kept = [each for name, each in signature.parameters.items() if name != _SESSION]
        return signature.replace(parameters=kept)

    def _async(self, body: Callable[..., Any], signature: inspect.Signature) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            signature.bind(*args, **kwargs)
            with self._narrowed() as context:
                if self.database is None:
                    return self._data(await body(*args, **kwargs))
                async with rls_enforced_session(
                    self.database, context.tenant_id, self.operation
                ) as session:
                    return self._data(await body(*args, **kwargs, session=session))

        return call

    def _sync(self, body: Callable[..., Any], signature: inspect.Signature) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            signature.bind(*args, **kwargs)
            with self._narrowed() as context:
                if self.database is None:
                    return self._data(body(*args, **kwargs))
                with rls_enforced_session(
                    self.database, context.tenant_id, self.operation
                ) as session:
                    return self._data(body(*args, **kwargs, session=session))

        return call

    @contextmanager
    def _narrowed(self) -> Iterator[UserExecutionContext]:
        around = require_context(self.operation, clock=self.clock)
        if not (self.scopes <= around.scopes and self.roles <= around.roles):
            report("AGENT_ACCESS_REFUSED", reason="scope_missing", operation=self.operation)
            raise InsufficientScopeError("scope_missing")
        with use_context(
            around.child(self.operation, scopes=self.scopes, roles=self.roles)
        ) as context:
            yield context

    def _data(self, result: Any) -> Any:
        if _is_live(result, _DEPTH):
            if isinstance(result, CoroutineType):
                result.close()  # or Python warns that nobody awaited it
            report(ContextContaminationError.code, reason="live_result", operation=self.operation)
            raise ContextContaminationError(
                self.operation,
                "this tool's result would be used after its call",
                remedy="Return plain data: read everything inside the tool.",
            )
        return result


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _is_live(value: Any, depth: int) -> bool:
    if isinstance(value, _LIVE) or inspector_of(type(value)) is not None:
        return True
    if depth == 0:
        return False
    if isinstance(value, Mapping):
        return any(_is_live(each, depth - 1) for each in (*value.keys(), *value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return any(_is_live(each, depth - 1) for each in value)
    return False


def _names(names: Iterable[str]) -> frozenset[str]:
    if isinstance(names, str):
        raise ConfigError("tenant_tool", f"{names!r} is one string", f"Pass {{{names!r}}}.")
    return frozenset(names)
