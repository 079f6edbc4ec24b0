"""ExecutionState: what one agent run, or one request, keeps. It belongs to one user's context.

The field's classic leak is an agent object made once and shared: its memory, tool results and
history then belong to whoever calls next. An `ExecutionState` answers its own user only, and only
until the run ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from types import TracebackType
from typing import Any, Final, NoReturn, Self, SupportsIndex, cast

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.errors import ConfigError, ContextContaminationError
from asgi_guard.protocols import Clock
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import current_context, entered_context, require_context
from asgi_guard.tenancy.reporting import report

__all__ = ["ExecutionState"]

_SELF: Final = object.__getattribute__  # reads our own slots, past the check
_SET: Final = object.__setattr__

_PROBLEMS: Final = {
    "foreign_tenant": "this state belongs to another tenant's context",
    "foreign_user": "this state belongs to another user's context",
    "no_context": "this state belongs to a context, and none is current here: it",
    "context_expired": "the context that this state belongs to has expired: it",
    "not_begun": "this state was used outside of its `with` block: it",
    "run_ended": "the run of this state has ended, and its values are gone: it",
    "run_entered_twice": "this state has been entered before: it",
}


class ExecutionState(MutableMapping[str, Any]):
    """A mapping of one run, which refuses everybody else.

    ::

        with ExecutionState.open("agent.run") as state:  # or: async with
            state["messages"] = []
            await agent.run(state)

    Every touch (item, length, iteration, comparison, attribute, repr, copy, pickle) under another
    user's or tenant's context, under none or an expired one, before the block or after it, raises
    `ContextContaminationError` and emits ``CONTEXT_CONTAMINATION``. Child contexts of the same
    user in the same tenant may use it. At the end of the block the values are dropped.

    It guards the way in. A list that was taken out of it is a plain list: keep it inside the run.

    Raises:
        ConfigError: The owner is no `UserExecutionContext`.
    """

    __slots__ = ("_clock", "_operation", "_owner", "_phase", "_values")

    def __init__(
        self,
        owner: UserExecutionContext,
        *,
        operation: str = "",
        initial: Mapping[str, Any] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not isinstance(owner, UserExecutionContext):
            raise ConfigError(
                "ExecutionState(owner)",
                f"got a {type(owner).__name__}",
                "Use ExecutionState.open(), which takes the current context.",
            )
        _SET(self, "_owner", owner)
        _SET(self, "_operation", operation or owner.operation)
        _SET(self, "_values", dict(initial or {}))
        _SET(self, "_clock", clock)
        _SET(self, "_phase", "not_begun")

    @classmethod
    def open(
        cls,
        operation: str = "",
        *,
        initial: Mapping[str, Any] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> Self:
        """Return a state for the current context, to be entered with ``with`` once.

        Args:
            operation: Name of the run, for errors and events.
            initial: Values to begin with; copied one level deep.
            clock: Tells whether the context has expired.

        Raises:
            ContextMissingError: No context is current.
        """
        owner = require_context(operation or "ExecutionState.open", clock=clock)
        return cls(owner, operation=operation, initial=initial, clock=clock)

    def __enter__(self) -> Self:
        phase = _SELF(self, "_phase")
        if phase == "run_ended":
            _refuse(self, "run_ended")
        _check_owner(self)
        if phase == "running":
            _refuse(self, "run_entered_twice")
        _SET(self, "_phase", "running")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Unchecked: a run ends also when its context is gone, and ending it shows nothing.
        _SELF(self, "_values").clear()
        _SET(self, "_phase", "run_ended")

    async def __aenter__(self) -> Self:
        return type(self).__enter__(self)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        type(self).__exit__(self, kind, error, trace)

    def __getitem__(self, key: str) -> Any:
        return _touch(self)[key]

    def __setitem__(self, key: str, value: Any) -> None:
        _touch(self)[key] = value

    def __delitem__(self, key: str) -> None:
        del _touch(self)[key]

    def __contains__(self, key: object) -> bool:
        return key in _touch(self)

    def __len__(self) -> int:
        return len(_touch(self))

    def __iter__(self) -> Iterator[str]:
        return _checked_at_each_step(self, iter(_touch(self)))

    def __eq__(self, other: object) -> bool:
        return _touch(self) == (dict(other) if isinstance(other, Mapping) else other)

    __hash__ = None  # type: ignore[assignment]  # as of every mutable mapping

    def __repr__(self) -> str:
        keys = ", ".join(repr(key) for key in _touch(self))  # values may be personal data
        return f"ExecutionState({_SELF(self, '_operation')!r}, keys=[{keys}])"

    def __getattribute__(self, name: str) -> Any:
        if name != "__class__":  # isinstance() may ask, of anything
            _touch(self)
        return _SELF(self, name)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        _touch(self)
        raise AttributeError(f"an ExecutionState has items, not attributes: state[{name!r}]")

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def __dir__(self) -> list[str]:
        _touch(self)
        return dir(type(self))

    def __copy__(self) -> NoReturn:
        _touch(self)
        raise TypeError("an ExecutionState is not copied: it would outlive its run")

    def __deepcopy__(self, _memo: dict[int, Any]) -> NoReturn:
        self.__copy__()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        _touch(self)
        raise TypeError("an ExecutionState is not pickled: it would outlive its run")


def _checked_at_each_step(state: ExecutionState, keys: Iterator[str]) -> Iterator[str]:
    _touch(state)  # the first step may come later, and elsewhere, than iter()
    for key in keys:
        yield key
        _touch(state)


def _touch(state: ExecutionState) -> dict[str, Any]:
    """Return the values, or raise: the one way to them."""
    phase = _SELF(state, "_phase")
    if phase == "run_ended":
        _refuse(state, "run_ended")
    _check_owner(state)
    if phase == "not_begun":
        _refuse(state, "not_begun")
    return cast("dict[str, Any]", _SELF(state, "_values"))


def _check_owner(state: ExecutionState) -> None:
    owner: UserExecutionContext = _SELF(state, "_owner")
    current = current_context(clock=_SELF(state, "_clock"))
    if current is None:
        _refuse(state, "no_context" if entered_context() is None else "context_expired")
    if current.tenant_id != owner.tenant_id:
        _refuse(state, "foreign_tenant")
    if current.user_id != owner.user_id:
        _refuse(state, "foreign_user")


def _refuse(state: ExecutionState, reason: str) -> NoReturn:
    """Report the intruder, who is the current context; the owner is known by its request only."""
    operation: str = _SELF(state, "_operation")
    report(
        ContextContaminationError.code,
        reason=reason,
        operation=operation,
        details={"owner_request_id": _SELF(state, "_owner").request_id},
    )
    raise ContextContaminationError(operation, _PROBLEMS[reason])
