"""The decision about a tenant that was named: who may act in it, and what refuses them.

Pure: no look-up, no clock. One table of it is tested in full.
"""

from __future__ import annotations

from asgi_guard.errors import TenantAccessError
from asgi_guard.protocols import Principal
from asgi_guard.tenancy.membership import Membership, Status

__all__ = ["TenantForbiddenError", "access_refusal"]


class TenantForbiddenError(TenantAccessError):
    """The same refusal for apps whose clients expect a 403."""

    code = "tenant_forbidden"
    status = 403
    title = "Forbidden"


def access_refusal(
    principal: Principal,
    tenant_id: str,
    membership: Membership | None,
    *,
    credential_suffices: bool = False,
) -> str | None:
    """Return why *principal* may not act in *tenant_id*, or None if it may.

    Args:
        principal: Who the credential speaks for.
        tenant_id: The tenant that was named, in its canonical spelling.
        membership: What the look-up said; None if the user is nothing there.
        credential_suffices: No memberships are kept: being named by the credential is enough.

    Returns:
        A reason for the operator's event. The caller is told none of them.
    """
    if principal.tenant_id is not None and principal.tenant_id != tenant_id:
        return "credential_bound_to_another_tenant"
    if credential_suffices:
        return None
    if membership is None:
        return "not_a_member"
    if membership.tenant_status is not Status.ACTIVE:
        return f"tenant_{membership.tenant_status}"
    if membership.member_status is not Status.ACTIVE:
        return f"membership_{membership.member_status}"
    return None
