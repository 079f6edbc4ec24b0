"""Multi-tenant security for ASGI apps: isolation that cannot be forgotten, and is provable."""

from __future__ import annotations

from asgi_guard._version import __version__
from asgi_guard.tenancy import (
    UserExecutionContext,
    current_context,
    require_context,
    use_context,
)

__all__ = [
    "UserExecutionContext",
    "__version__",
    "current_context",
    "require_context",
    "use_context",
]
