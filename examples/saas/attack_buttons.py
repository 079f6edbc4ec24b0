"""The routes behind the attack buttons, and the events that any request of one's own left."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException

from asgi_guard.integrations.fastapi import CurrentContext

from .attacks import ATTACKS, Target, run_attack
from .people import PEOPLE, other_tenant
from .service import Service


def attack_routes(service: Service) -> APIRouter:
    """Return the routes of attacks and events."""
    routes = APIRouter()

    @routes.post("/api/attacks/{name}")
    async def attack(name: str, context: CurrentContext) -> dict[str, Any]:
        if name not in ATTACKS:
            raise HTTPException(404, "no such attack")
        victim = other_tenant(next(p.tenant for p in PEOPLE if p.user == context.user_id))
        target = Target(service.engine, service.runtime_url, context, victim.id)
        with service.events.during() as left:
            outcome = await run_attack(name, target)
        return {**outcome, "events": left}

    @routes.get("/api/events/{request_id}")
    def events_of(request_id: str, _context: CurrentContext) -> list[dict[str, str]]:
        return service.events.of_request(request_id)

    return routes
