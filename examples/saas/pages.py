"""The page, and signing in and out: what is served to everybody."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from asgi_guard import __version__
from asgi_guard.integrations.fastapi import CurrentContext
from asgi_guard.security_headers import csp_nonce

from .attacks import ATTACKS
from .identity import COOKIE, LIFETIME_SECONDS
from .people import PEOPLE, other_tenant, person_named
from .service import Service

STATIC = Path(__file__).parent / "static"
PUBLIC_PATHS = (
    "/",
    "/static/*",
    "/api/people",
    "/api/sign-in",
    "/api/sign-out",
    "/health",
    "/docs",
    "/openapi.json",
)


class SignIn(BaseModel):
    """Who to be."""

    user: str


def page_routes(service: Service) -> APIRouter:
    """Return the page's routes."""
    routes = APIRouter()
    page = Template((STATIC / "index.html").read_text(encoding="utf-8"))

    @routes.get("/")
    def index(request: Request) -> HTMLResponse:
        return HTMLResponse(page.substitute(nonce=csp_nonce(request), version=__version__))

    @routes.get("/api/people")
    def people() -> list[dict[str, str]]:
        return [{"user": person.user, "tenant": person.tenant.name} for person in PEOPLE]

    @routes.post("/api/sign-in", status_code=204)
    def sign_in(wanted: SignIn, request: Request, response: Response) -> None:
        person = person_named(wanted.user)
        if person is None:
            raise HTTPException(404, "nobody of that name")
        response.set_cookie(
            COOKIE,
            service.identity.token_for(person),
            max_age=LIFETIME_SECONDS,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )

    @routes.post("/api/sign-out", status_code=204)
    def sign_out(response: Response) -> None:
        response.delete_cookie(COOKIE)

    @routes.get("/api/me")
    def me(context: CurrentContext) -> dict[str, Any]:
        person = next(each for each in PEOPLE if each.user == context.user_id)
        other = other_tenant(person.tenant)
        return {
            "user": context.user_id,
            "tenant": person.tenant.name,
            "other": {"tenant": other.name, "tenant_id": other.id, "note_id": other.known_note},
            "attacks": [
                {"id": name, "name": title, "what": what}
                for name, (title, what, _) in ATTACKS.items()
            ],
        }

    return routes
