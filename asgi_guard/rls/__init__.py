"""Row-level security that cannot be forgotten: no tenant, no row, in code and in the database.

Protects one tenant's rows from every other: against the query without a filter, the setting that
outlives its transaction on a pooled connection, the role that bypasses policies, and the job or
agent that runs for nobody.
"""

from __future__ import annotations

from asgi_guard.errors import RLSViolationError
from asgi_guard.rls.variables import RLSVariables

__all__ = ["RLSVariables", "RLSViolationError"]
