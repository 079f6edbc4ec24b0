"""Who a piece of code runs for: one frozen context, one place to read it, no way to widen it.

Protects against the tenant that is named instead of proven, and against state that outlives the
user it belonged to: between requests, across threads and forks, and between agents of several
users in one process.
"""

from __future__ import annotations

from asgi_guard.tenancy.cache import TenantCache
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import current_context, require_context, use_context
from asgi_guard.tenancy.envelope import ContextEnvelope, OpenedEnvelope
from asgi_guard.tenancy.envelope_keys import EnvelopeKey, EnvelopeKeys
from asgi_guard.tenancy.fail_closed import FailClosedMiddleware, expect_violation
from asgi_guard.tenancy.membership import Membership, Memberships, Status
from asgi_guard.tenancy.membership_cache import CachedMemberships
from asgi_guard.tenancy.middleware import TenantContextMiddleware
from asgi_guard.tenancy.propagation import propagate
from asgi_guard.tenancy.resolvers import (
    ChainResolver,
    ClaimResolver,
    CustomResolver,
    HeaderResolver,
    PathResolver,
    SubdomainResolver,
    TenantResolver,
)
from asgi_guard.tenancy.state import ExecutionState
from asgi_guard.tenancy.tenant_id import INTEGER, SLUG, UUID, TenantIdShape

__all__ = [
    "INTEGER",
    "SLUG",
    "UUID",
    "CachedMemberships",
    "ChainResolver",
    "ClaimResolver",
    "ContextEnvelope",
    "CustomResolver",
    "EnvelopeKey",
    "EnvelopeKeys",
    "ExecutionState",
    "FailClosedMiddleware",
    "HeaderResolver",
    "Membership",
    "Memberships",
    "OpenedEnvelope",
    "PathResolver",
    "Status",
    "SubdomainResolver",
    "TenantCache",
    "TenantContextMiddleware",
    "TenantIdShape",
    "TenantResolver",
    "UserExecutionContext",
    "current_context",
    "expect_violation",
    "propagate",
    "require_context",
    "use_context",
]
