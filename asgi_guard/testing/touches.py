"""Who touched what: the first touch of each watched object, and the report of a second owner's."""

from __future__ import annotations

import sys
import threading
from traceback import StackSummary, format_list, walk_stack
from types import FrameType
from typing import Final, Literal, NamedTuple, TypeAlias

from asgi_guard.errors import IsolationError
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import entered_context

__all__ = [
    "Contamination",
    "ContaminationError",
    "Ledger",
    "OnTouch",
    "Touch",
    "Touches",
    "Track",
]

OnTouch: TypeAlias = Literal["raise", "collect"]
Track: TypeAlias = Literal["tenant", "user"]

_FRAMES: Final = 12


class Touch(NamedTuple):
    """One touch of a watched object.

    Args:
        tenant_id: For whom the code ran.
        user_id: The same.
        action: What was done, e.g. ``"__setitem__"``.
        stack: Where, innermost last, as Python prints it.
    """

    tenant_id: str
    user_id: str
    action: str
    stack: str


class Contamination(NamedTuple):
    """One object that was touched for two owners.

    Args:
        name: What was watched.
        first: The first touch.
        second: The first one of another owner.
    """

    name: str
    first: Touch
    second: Touch

    def __str__(self) -> str:
        return (
            f"CONTEXT_CONTAMINATION: {self.name} was touched under two contexts.\n"
            f"{_told('First', self.first)}{_told('Then', self.second)}"
        )


class ContaminationError(IsolationError):
    """An object that is watched in a test was touched for two owners.

    Args:
        found: What was seen, with both stacks.
    """

    code = "CONTEXT_CONTAMINATION"

    def __init__(self, *found: Contamination) -> None:
        super().__init__("\n".join(map(str, found)))
        self.found = found


class Touches:
    """Remembers the first touch of each watched object. Threads may share it.

    Args:
        on_touch: ``"raise"``: at the second owner's touch, where it happens; ``"collect"``: keep
            it, for `check`.
        track: ``"tenant"``: two users of a tenant may share; ``"user"``: they may not.
    """

    def __init__(self, on_touch: OnTouch, track: Track) -> None:
        self.found: list[Contamination] = []
        self._on_touch = on_touch
        self._track = track
        self._lock = threading.Lock()

    def record(self, ledger: Ledger, action: str) -> None:
        """Note that the current context touches the object of *ledger*; without one, nothing.

        Raises:
            ContaminationError: It is another owner's, and that was asked for.
        """
        context = entered_context()
        if context is None:
            return
        owner = self._owner_of(context)
        if ledger.owner == owner or (ledger.owner is not None and ledger.reported):
            return
        touch = Touch(context.tenant_id, context.user_id, action, _stack())
        with self._lock:
            if ledger.owner is None:
                ledger.owner, ledger.first = owner, touch
            if ledger.owner == owner or ledger.first is None:
                return
            ledger.reported = self._on_touch == "collect"
            seen = Contamination(ledger.name, ledger.first, touch)
            self.found.append(seen)
        if self._on_touch == "raise":
            raise ContaminationError(seen)

    def check(self) -> None:
        """Raise with everything that was found.

        Raises:
            ContaminationError: Something was.
        """
        if self.found:
            raise ContaminationError(*self.found)

    def _owner_of(self, context: UserExecutionContext) -> tuple[str, ...]:
        if self._track == "tenant":
            return (context.tenant_id,)
        return (context.tenant_id, context.user_id)


class Ledger:
    """What is known of one watched object; it lives as long as that object does."""

    __slots__ = ("first", "name", "owner", "reported")

    def __init__(self, name: str) -> None:
        self.name = name
        self.owner: tuple[str, ...] | None = None
        self.first: Touch | None = None
        self.reported = False


def _stack() -> str:
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - as the traceback module does
    own = __name__.rpartition(".")[0]
    while frame is not None and frame.f_globals.get("__name__", "").startswith(own + "."):
        frame = frame.f_back
    frames = list(walk_stack(frame))[:_FRAMES]
    summary = StackSummary.extract(iter(frames), lookup_lines=False)
    summary.reverse()
    return "".join(format_list(summary))


def _told(when: str, touch: Touch) -> str:
    return (
        f"{when}, for user {touch.user_id!r} of tenant {touch.tenant_id!r}, {touch.action} at:\n"
        f"{touch.stack}"
    )
