"""Who a transaction belongs to, and whether the code that uses it runs for the same."""

from __future__ import annotations

from asgi_guard.errors import RLSViolationError
from asgi_guard.rls.violations import mismatch, not_enforced
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import current_context, entered_context

__all__ = ["require_same", "require_tenant"]


def require_tenant(operation: str = "") -> UserExecutionContext:
    """Return the context this code runs under.

    Raises:
        RLSViolationError: There is none (``RLS_NOT_ENFORCED``); nothing was sent.
    """
    context = current_context()
    if context is None:
        raise _no_tenant(operation)
    return context


def require_same(owner: UserExecutionContext | None) -> None:
    """Check that this code runs for the tenant and user the transaction was bound to.

    The user counts as well: policies read it, and it was bound with the tenant.

    Raises:
        RLSViolationError: No context (``RLS_NOT_ENFORCED``), another tenant's or user's, or a
            transaction that nobody bound (``TENANT_MISMATCH``); nothing was sent.
    """
    context = current_context()
    if context is owner and context is not None:
        return
    if context is None:
        raise _no_tenant("")
    if owner is None or not owner.same_identity(context):
        raise mismatch(
            "this transaction belongs to another tenant or user. Finish it under the context "
            "that began it, and use another session for the other",
            reason="transaction_of_another",
        )


def _no_tenant(operation: str) -> RLSViolationError:
    if entered_context() is not None:
        return not_enforced(
            "the context here has expired with the credential behind it. A job that outlives its "
            "request runs under rls_enforced_session(...)",
            reason="context_expired",
            operation=operation,
        )
    return not_enforced(
        "no tenant is bound here. Run inside a request that TenantContextMiddleware serves, or "
        "enter use_context(...) or rls_enforced_session(...)",
        reason="no_tenant",
        operation=operation,
    )
