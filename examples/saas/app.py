"""The service put together: four sets of routes, and one guard around them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from asgi_guard import Guard, GuardSettings, __version__
from asgi_guard.integrations.sql_memberships import SQLMemberships
from asgi_guard.observability.health import HealthEndpoint
from asgi_guard.security_headers import SecurityHeaders
from asgi_guard.tenancy import (
    CachedMemberships,
    ChainResolver,
    ClaimResolver,
    HeaderResolver,
    PathResolver,
)

from .attack_buttons import attack_routes
from .database import POLICIES, DatabaseURLs
from .notes import note_routes
from .pages import PUBLIC_PATHS, STATIC, page_routes
from .service import Service
from .work import work_routes

MEMBERSHIP = """
    SELECT m.role, m.status AS member_status, t.status AS tenant_status
    FROM memberships AS m JOIN tenants AS t ON t.id = m.member_of
    WHERE m.user_id = :user_id AND m.member_of = CAST(:tenant_id AS uuid)
"""


def create_app(urls: DatabaseURLs) -> FastAPI:
    """Build the service on the database behind *urls*."""
    service = Service.on(urls)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await service.close()

    app = FastAPI(title="asgi-guard demo", version=__version__, lifespan=lifespan)
    app.mount("/static", StaticFiles(directory=STATIC))
    for routes in (page_routes, note_routes, work_routes, attack_routes):
        app.include_router(routes(service))
    guard = Guard(guard_settings(service))
    app.add_route("/health", HealthEndpoint(guard.check))
    return guard.install(app)


def guard_settings(service: Service) -> GuardSettings:
    """Return how the service is guarded."""
    return GuardSettings(
        authenticators=[service.identity],
        # A tenant may be named by path or header; it must be the one that the credential names.
        resolver=ChainResolver(PathResolver("/t/{tenant}"), HeaderResolver(), ClaimResolver()),
        memberships=CachedMemberships(SQLMemberships(service.directory, statement=MEMBERSHIP)),
        public_paths=PUBLIC_PATHS,
        databases=[service.engine],
        tables=POLICIES,
        security_headers="html",
        security_headers_routes={"/docs": SecurityHeaders.docs()},
        environment="development",  # plain http on the loopback address
        event_sinks=[service.events],
    )
