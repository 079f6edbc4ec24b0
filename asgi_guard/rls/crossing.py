"""The marker that code runs across tenants on purpose; set by `system_session` alone.

It grants nothing by itself: the database role does. It lets `assert_rls_enforced(True)` and log
readers tell audited system work from code that lost its tenant.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from asgi_guard.tenancy.current import new_variable

__all__ = ["SystemCrossing", "current_crossing", "use_crossing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemCrossing:
    """One audited piece of work across tenants.

    Args:
        reason: Why, in words for the auditor.
        ticket: Where it was asked for, e.g. ``"OPS-1234"``.
    """

    reason: str
    ticket: str


class _Block:
    """One entered block. Tasks made inside it share it, so its end reaches them all."""

    __slots__ = ("crossing",)

    def __init__(self, crossing: SystemCrossing) -> None:
        self.crossing: SystemCrossing | None = crossing


def _new_crossing() -> ContextVar[_Block | None]:
    return new_variable("asgi_guard_crossing", _Block)


_crossing = _new_crossing()


def current_crossing() -> SystemCrossing | None:
    """Return the crossing that this code runs in; None outside any, and after its block ended."""
    block = _crossing.get()
    return None if block is None else block.crossing


@contextmanager
def use_crossing(crossing: SystemCrossing) -> Iterator[None]:
    """Mark a block as system work, for the tasks and threads it starts as well, until it ends."""
    variable, block = _crossing, _Block(crossing)
    token = variable.set(block)
    try:
        yield
    finally:
        block.crossing = None
        variable.reset(token)


def _forget_after_fork() -> None:
    global _crossing  # noqa: PLW0603 - as for the context: what was inherited is unreachable
    _crossing = _new_crossing()


os.register_at_fork(after_in_child=_forget_after_fork)
