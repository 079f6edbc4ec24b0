"""The one way a violation comes into being: built and reported together, so none stays unseen."""

from __future__ import annotations

from asgi_guard.errors import RLSViolationError
from asgi_guard.tenancy.current import current_context
from asgi_guard.tenancy.reporting import report

__all__ = ["mismatch", "not_enforced", "unverified"]


def not_enforced(problem: str, *, reason: str, operation: str = "") -> RLSViolationError:
    """Report and return an ``RLS_NOT_ENFORCED`` error, for the caller to raise.

    Args:
        problem: What was wrong, without tenant ids, SQL or data.
        reason: Stable word for the event, e.g. ``"no_tenant"``.
        operation: Name of the guarded operation; the context's own when empty.
    """
    return _violation("RLS_NOT_ENFORCED", problem, reason, operation)


def mismatch(problem: str, *, reason: str, operation: str = "") -> RLSViolationError:
    """Report and return a ``TENANT_MISMATCH`` error; arguments as for `not_enforced`."""
    return _violation("TENANT_MISMATCH", problem, reason, operation)


def unverified(problem: str, *, reason: str, operation: str = "") -> RLSViolationError:
    """Report and return an ``RLS_VERIFICATION_FAILED`` error; arguments as for `not_enforced`."""
    return _violation("RLS_VERIFICATION_FAILED", problem, reason, operation)


def _violation(code: str, problem: str, reason: str, operation: str) -> RLSViolationError:
    if not operation:
        context = current_context()
        operation = "" if context is None else context.operation
    report(code, reason=reason, operation=operation)
    return RLSViolationError(code, problem, operation=operation)
