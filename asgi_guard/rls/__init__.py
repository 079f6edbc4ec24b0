"""Row-level security that cannot be forgotten: no tenant, no row, in code and in the database.

Protects one tenant's rows from every other: against the query without a filter, the setting that
outlives its transaction on a pooled connection, the role that bypasses policies, and the job or
agent that runs for nobody.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from asgi_guard.errors import RLSViolationError
from asgi_guard.rls.binding import (
    GuardedAsyncSession,
    GuardedPool,
    GuardedSession,
    create_guarded_pool,
    guarded_connection_class,
    guarded_engine,
    guarded_sessionmaker,
    is_guarded,
    variables_of,
)
from asgi_guard.rls.enforcement import assert_rls_enforced, require_rls
from asgi_guard.rls.session import rls_enforced_session
from asgi_guard.rls.system import system_engine, system_session
from asgi_guard.rls.variables import RLSVariables

if TYPE_CHECKING:
    from asgi_guard.rls.bulk import bulk_load, bulk_load_csv
    from asgi_guard.rls.catalog import Finding, audit_catalog, raise_on_findings, verify_deployment
    from asgi_guard.rls.ddl.passwords import password_statement
    from asgi_guard.rls.ddl.sealed import retire_seal_key_statement, seal_key_statements
    from asgi_guard.rls.models import TenantScoped, tenant_foreign_key
    from asgi_guard.rls.operator_lint import OperatorFinding, lint_operators, stored_statements
    from asgi_guard.rls.policies import TenantPolicies, tenant_policies
    from asgi_guard.rls.seal import SealKey, SealKeys
    from asgi_guard.rls.shared import (
        Gap,
        LargeObjectTables,
        TenantLargeObjects,
        TenantListener,
        TenantNumbers,
        notify,
        notify_sync,
    )

__all__ = [
    "Finding",
    "Gap",
    "GuardedAsyncSession",
    "GuardedPool",
    "GuardedSession",
    "LargeObjectTables",
    "OperatorFinding",
    "RLSVariables",
    "RLSViolationError",
    "SealKey",
    "SealKeys",
    "TenantLargeObjects",
    "TenantListener",
    "TenantNumbers",
    "TenantPolicies",
    "TenantScoped",
    "assert_rls_enforced",
    "audit_catalog",
    "bulk_load",
    "bulk_load_csv",
    "create_guarded_pool",
    "guarded_connection_class",
    "guarded_engine",
    "guarded_sessionmaker",
    "is_guarded",
    "lint_operators",
    "notify",
    "notify_sync",
    "password_statement",
    "raise_on_findings",
    "require_rls",
    "retire_seal_key_statement",
    "rls_enforced_session",
    "seal_key_statements",
    "stored_statements",
    "system_engine",
    "system_session",
    "tenant_foreign_key",
    "tenant_policies",
    "variables_of",
    "verify_deployment",
]

# What describes and inspects a schema is loaded when it is named: requests do not need it.
_ON_DEMAND: Final = {
    "Finding": "asgi_guard.rls.catalog",
    "OperatorFinding": "asgi_guard.rls.operator_lint",
    "Gap": "asgi_guard.rls.shared",
    "LargeObjectTables": "asgi_guard.rls.shared",
    "SealKey": "asgi_guard.rls.seal",
    "SealKeys": "asgi_guard.rls.seal",
    "TenantLargeObjects": "asgi_guard.rls.shared",
    "TenantListener": "asgi_guard.rls.shared",
    "TenantNumbers": "asgi_guard.rls.shared",
    "TenantPolicies": "asgi_guard.rls.policies",
    "TenantScoped": "asgi_guard.rls.models",
    "audit_catalog": "asgi_guard.rls.catalog",
    "bulk_load": "asgi_guard.rls.bulk",
    "bulk_load_csv": "asgi_guard.rls.bulk",
    "lint_operators": "asgi_guard.rls.operator_lint",
    "notify": "asgi_guard.rls.shared",
    "notify_sync": "asgi_guard.rls.shared",
    "password_statement": "asgi_guard.rls.ddl.passwords",
    "raise_on_findings": "asgi_guard.rls.catalog",
    "retire_seal_key_statement": "asgi_guard.rls.ddl.sealed",
    "seal_key_statements": "asgi_guard.rls.ddl.sealed",
    "stored_statements": "asgi_guard.rls.operator_lint",
    "tenant_foreign_key": "asgi_guard.rls.models",
    "tenant_policies": "asgi_guard.rls.policies",
    "verify_deployment": "asgi_guard.rls.catalog",
}


def __getattr__(name: str) -> Any:
    """Load the module of *name* on first use."""
    module = _ON_DEMAND.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(module), name)
