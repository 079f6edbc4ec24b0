"""Multi-tenant security for ASGI apps: isolation that cannot be forgotten, and is provable.

One identity and one tenant hold from the browser's first byte to the last row: origins, headers
and cross-site requests at the edge; a tenant that is proven, never named; and row-level security
in PostgreSQL that is bound to each transaction and checked before the app starts::

    app = FastAPI()
    engine = guarded_engine("postgresql+asyncpg://app_runtime@db/app")

    @app.get("/notes")
    @require_rls
    async def notes(session: GuardedSession) -> list[str]:
        return list(await session.scalars(select(Note.text)))

    Guard(
        GuardSettings(
            authenticators=[BearerJWTAuthenticator(key=KEY, issuer=ISSUER, audience="notes")],
            resolver=ClaimResolver(),
            databases=[engine],
        )
    ).install(app)

Rooms: `tenancy` (who code runs for), `rls` (rows), `auth` (credentials), `origins`, `cors`,
`cross_origin` and `security_headers` (the web edge), `settings` and `stack` (put together),
`integrations` (third parties), `observability` (events), `testing` (servers for tests).
"""

from __future__ import annotations

from asgi_guard._version import __version__
from asgi_guard.auth import AuthenticationMiddleware
from asgi_guard.cors import CORSAllowlistMiddleware
from asgi_guard.cross_origin import CrossOriginMiddleware
from asgi_guard.security_headers import SecurityHeadersMiddleware
from asgi_guard.settings import GuardSettings
from asgi_guard.stack import Guard
from asgi_guard.tenancy import (
    TenantContextMiddleware,
    UserExecutionContext,
    current_context,
    require_context,
    use_context,
)

__all__ = [
    "AuthenticationMiddleware",
    "CORSAllowlistMiddleware",
    "CrossOriginMiddleware",
    "Guard",
    "GuardSettings",
    "SecurityHeadersMiddleware",
    "TenantContextMiddleware",
    "UserExecutionContext",
    "__version__",
    "current_context",
    "require_context",
    "use_context",
]
