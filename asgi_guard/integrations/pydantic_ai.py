"""pydantic-ai: one agent object for everybody, and each run for one user.

::

    agent = Agent(model, capabilities=[TenantRuns()])

Needs the ``pydantic-ai`` extra.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, Final

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.extras import require_extra
from asgi_guard.errors import ContextContaminationError
from asgi_guard.protocols import Clock
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import require_context, use_context
from asgi_guard.tenancy.ownership import OwnedBy, check_owned_by, not_owned, owner_label
from asgi_guard.tenancy.reporting import report

require_extra("pydantic_ai", feature=__name__, extra="pydantic-ai")

from pydantic_ai import RunContext  # noqa: E402 - a missing extra is named first
from pydantic_ai.capabilities import AbstractCapability  # noqa: E402 - as above
from pydantic_ai.messages import ModelMessage  # noqa: E402 - as above

__all__ = ["TenantRuns", "adopt_history"]

_OPERATION: Final = "agent.run"
_OWNER: Final = "asgi_guard_owner"


class TenantRuns(AbstractCapability[Any]):
    """A capability that ties each run of an agent to the context it begins under.

    - A run needs a context that has not expired.
    - Its ``deps`` may hold no other user's `UserExecutionContext`, at the top or in a field.
    - Its message history must be the owner's: messages are marked in their ``metadata``, which
      survives serialization, and a history with another's mark, or without one, is refused. Only
      a response right after the owner's own request may lack it.
    - Each tool call is looked at again, and runs under a child context named after the tool.

    The mark keeps histories apart that *your* store mixed up. It is no signature: do not take
    histories from the browser.

    Args:
        owned_by: ``"user"``: histories are of one user; ``"tenant"``: all users of a tenant share
            them.
        clock: Tells whether the context has expired.

    Raises:
        ConfigError: *owned_by* is unknown.
    """

    def __init__(self, *, owned_by: OwnedBy = "user", clock: Clock = SYSTEM_CLOCK) -> None:
        check_owned_by("TenantRuns(owned_by)", owned_by)
        self._owned_by = owned_by
        self._clock = clock
        self._owner: UserExecutionContext | None = None

    async def for_run(self, ctx: RunContext[Any]) -> TenantRuns:
        """Return the capability of one run, after a look at what it is given.

        Raises:
            ContextMissingError: No context is current.
            ContextContaminationError: ``deps`` hold another user's context.
            NotOwnedError: The message history is another's, or nobody's.
        """
        owner = require_context(_OPERATION, clock=self._clock)
        _check_deps(ctx.deps, owner)
        label = owner_label(owner, self._owned_by)
        if not _is_owned(ctx.messages, label):
            raise not_owned("history_of_another", _OPERATION)
        run = TenantRuns(owned_by=self._owned_by, clock=self._clock)
        run._owner = owner
        return run

    async def before_model_request(self, ctx: RunContext[Any], request_context: Any) -> Any:
        """Mark what goes to the model as the owner's.

        Raises:
            ContextContaminationError: The run goes on under another user's context.
        """
        self._mark((*ctx.messages, *request_context.messages))
        return request_context

    async def wrap_run(self, ctx: RunContext[Any], *, handler: Any) -> Any:
        """Run, and mark the messages that came of it.

        Raises:
            ContextContaminationError: The run ended under another user's context.
        """
        result = await handler()
        self._mark((*ctx.messages, *result.all_messages()))
        return result

    async def wrap_tool_execute(
        self,
        ctx: RunContext[Any],  # noqa: ARG002 - pydantic-ai's signature
        *,
        call: Any,  # noqa: ARG002 - as above
        tool_def: Any,
        args: Any,
        handler: Any,
    ) -> Any:
        """Run one tool under a child of the run's context.

        Raises:
            ContextContaminationError: Another user's context is current.
        """
        context = self._still_the_owner()
        with use_context(context.child(f"agent.tool.{tool_def.name}")):
            return await handler(args)

    def _mark(self, messages: Iterable[ModelMessage]) -> None:
        label = owner_label(self._still_the_owner(), self._owned_by)
        for message in messages:
            message.metadata = {**(message.metadata or {}), _OWNER: label}

    def _still_the_owner(self) -> UserExecutionContext:
        current = require_context(_OPERATION, clock=self._clock)
        if self._owner is None or not self._owner.same_identity(current):
            raise _contaminated("run_of_another", "this run belongs to another user's context")
        return current


def adopt_history(
    messages: Sequence[ModelMessage],
    *,
    owned_by: OwnedBy = "user",
    clock: Clock = SYSTEM_CLOCK,
) -> list[ModelMessage]:
    """Return copies of *messages* marked as the current owner's, for histories without a mark.

    Raises:
        ContextMissingError: No context is current.
        NotOwnedError: One of them is marked as another's.
    """
    label = owner_label(require_context("adopt_history", clock=clock), owned_by)
    if any(_mark_of(message) not in {None, label} for message in messages):
        raise not_owned("history_of_another", "adopt_history")
    adopted = [copy.copy(message) for message in messages]
    for message in adopted:
        message.metadata = {**(message.metadata or {}), _OWNER: label}
    return adopted


def _is_owned(messages: Sequence[ModelMessage], label: str) -> bool:
    follows = False  # whether the message before is the owner's request
    for message in messages:
        mark = _mark_of(message)
        # A streamed result builds its last response anew, and no hook sees that one.
        if mark != label and not (mark is None and follows and message.kind == "response"):
            return False
        follows = message.kind == "request"
    return True


def _mark_of(message: ModelMessage) -> object:
    return (message.metadata or {}).get(_OWNER)


def _check_deps(deps: object, owner: UserExecutionContext) -> None:
    held = [deps, *getattr(deps, "__dict__", {}).values()]
    held += deps.values() if isinstance(deps, dict) else ()
    held += (getattr(deps, name, None) for name in getattr(type(deps), "__slots__", ()))
    for each in held:
        if isinstance(each, UserExecutionContext) and not each.same_identity(owner):
            raise _contaminated("deps_of_another", "these deps belong to another user's context")


def _contaminated(reason: str, problem: str) -> ContextContaminationError:
    report(ContextContaminationError.code, reason=reason, operation=_OPERATION)
    return ContextContaminationError(
        _OPERATION, problem, remedy="Make deps and begin the run inside the user's own context."
    )
