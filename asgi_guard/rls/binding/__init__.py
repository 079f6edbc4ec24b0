"""How a tenant gets into the database: once per transaction, in the message that begins it.

Protects against the setting that outlives its request on a pooled connection, and against the
statement that runs for nobody. Two walls: a statement without a tenant is not sent; were it
sent, the transaction would be unbound and the policies would show it no row.
"""

from __future__ import annotations

from asgi_guard.rls.binding.asyncpg_connection import connection_class as guarded_connection_class
from asgi_guard.rls.binding.engine import guarded_engine
from asgi_guard.rls.binding.handles import is_guarded, variables_of
from asgi_guard.rls.binding.pool import GuardedPool, create_guarded_pool
from asgi_guard.rls.binding.session import (
    GuardedAsyncSession,
    GuardedSession,
    guarded_sessionmaker,
)

__all__ = [
    "GuardedAsyncSession",
    "GuardedPool",
    "GuardedSession",
    "create_guarded_pool",
    "guarded_connection_class",
    "guarded_engine",
    "guarded_sessionmaker",
    "is_guarded",
    "variables_of",
]
