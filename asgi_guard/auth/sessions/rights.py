"""Within a tenant's request only that tenant's sessions are touched."""

from __future__ import annotations

from asgi_guard.errors import TenantAccessError
from asgi_guard.tenancy import current_context

__all__ = ["check_group", "check_session", "check_tenant"]


def check_tenant(tenant_id: str | None) -> None:
    """Refuse to make a session for another tenant than the current request's.

    Raises:
        TenantAccessError: The current context is of another tenant than *tenant_id*.
    """
    context = current_context()
    if context is not None and context.tenant_id != tenant_id:
        raise TenantAccessError("session_of_another_tenant")


def check_session(user_id: str, tenant_id: str | None) -> None:
    """Refuse to touch a session of another tenant; one without a tenant is its own user's.

    Raises:
        TenantAccessError: The current context is of another tenant, or of another user.
    """
    context = current_context()
    if tenant_id is not None or context is None or context.user_id != user_id:
        check_tenant(tenant_id)


def check_group(user_id: str | None, tenant_id: str | None) -> None:
    """Refuse to end sessions beyond the current request's tenant, but for one's own everywhere.

    Raises:
        TenantAccessError: They are another tenant's, or another user's in every tenant.
    """
    context = current_context()
    own = context is not None and tenant_id is None and user_id == context.user_id
    if not own:
        check_tenant(tenant_id)
