"""What PostgreSQL has no row-level security for: channels, large objects, sequences.

Protects one tenant's notifications, large objects and numbers from every other tenant, whose
statements run as the same role: by names that cannot be guessed and payloads that are signed, by
a table under policies that stands in front of the objects, and by a counter for each tenant.
"""

from __future__ import annotations

from asgi_guard.rls.shared.large_object_tables import LargeObjectTables
from asgi_guard.rls.shared.large_objects import TenantLargeObjects
from asgi_guard.rls.shared.listener import TenantListener
from asgi_guard.rls.shared.numbers import TenantNumbers
from asgi_guard.rls.shared.sending import notify, notify_sync
from asgi_guard.rls.shared.subscription import Gap, Subscription

__all__ = [
    "Gap",
    "LargeObjectTables",
    "Subscription",
    "TenantLargeObjects",
    "TenantListener",
    "TenantNumbers",
    "notify",
    "notify_sync",
]
