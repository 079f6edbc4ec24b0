"""Events that name who is asking: `emit`, filled from the current context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from asgi_guard._internal.events import emit
from asgi_guard._internal.principal import session_hash
from asgi_guard.errors import IsolationError
from asgi_guard.tenancy.current import entered_context, note_failure

__all__ = ["VIOLATIONS", "ReportedViolationError", "report"]

VIOLATIONS: Final = frozenset(
    {"RLS_NOT_ENFORCED", "TENANT_MISMATCH", "RLS_VERIFICATION_FAILED", "CONTEXT_CONTAMINATION"}
)
"""Events after which a request must not be answered as if nothing had happened."""


class ReportedViolationError(IsolationError):
    """An isolation error was reported in a request, whatever became of the exception.

    Args:
        code: The event name of the violation.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"{code}: a violation was reported in this request; let its error through")
        self.code = code


def report(
    name: str,
    *,
    outcome: str = "denied",
    reason: str = "",
    operation: str = "",
    details: Mapping[str, str | int | float | bool | None] | None = None,
) -> None:
    """Emit event *name* with the identity of the current context, if there is one.

    An expired context still names who it was: the event is about it, nothing runs under it.
    One of `VIOLATIONS` is also noted against the request it happened in, so that a handler that
    swallows the error cannot answer 200.
    """
    if name in VIOLATIONS:
        note_failure(ReportedViolationError(name))
    context = entered_context()
    if context is None:
        emit(name, outcome=outcome, reason=reason, operation=operation or None, details=details)
        return
    emit(
        name,
        outcome=outcome,
        reason=reason,
        details=details,
        operation=operation or context.operation or None,
        request_id=context.request_id,
        tenant_id=context.tenant_id,
        user_id=context.user_id,
        session_id=session_hash(context.session_id),
        auth_method=context.auth_method,
        client=context.client,
        trace_id=context.trace_id,
    )
