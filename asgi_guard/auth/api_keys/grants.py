"""Who may make or change which keys: nobody hands out more than they have."""

from __future__ import annotations

from asgi_guard.errors import InsufficientScopeError, TenantAccessError
from asgi_guard.tenancy import current_context

__all__ = ["AUTH_METHOD", "check_creator", "check_tenant"]

AUTH_METHOD = "api_key"


def check_tenant(tenant_id: str) -> None:
    """Refuse to touch another tenant's keys from within a tenant's request.

    Raises:
        TenantAccessError: The current context is of another tenant than *tenant_id*.
    """
    context = current_context()
    if context is not None and context.tenant_id != tenant_id:
        raise TenantAccessError("api_key_of_another_tenant")


def check_creator(tenant_id: str, scopes: frozenset[str], *, keys_make_keys: bool) -> None:
    """Refuse a key that its creator may not hand out.

    Raises:
        TenantAccessError: It would open another tenant.
        InsufficientScopeError: It would grant scopes that the creator's own credential lacks, or
            an API key asks for a further key: a stolen one would outlive its revocation.

    A creator whose credential has no scopes, as a session's, is bound by the app's own rules.
    """
    check_tenant(tenant_id)
    context = current_context()
    if context is None:
        return
    if context.auth_method == AUTH_METHOD and not keys_make_keys:
        raise InsufficientScopeError("api_key_makes_api_key")
    bound = bool(context.scopes) or context.auth_method == AUTH_METHOD
    if bound and not scopes <= context.scopes:
        raise InsufficientScopeError("scopes_beyond_creator")
