"""Policies by route, by handler and by tenant."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from asgi_guard.security_headers import (
    SecurityHeaders,
    SecurityHeadersMiddleware,
    security_headers,
)
from asgi_guard.tenancy import UserExecutionContext, use_context
from tests.support.headers_client import collected_events, http_scope, plain_app, request

HTML = SecurityHeaders.html()
LAX = HTML.replace(content_security_policy=None, x_frame_options="SAMEORIGIN")


async def hello(request: Request) -> Any:
    return PlainTextResponse("hello")


@pytest.mark.parametrize(
    ("path", "frames"),
    [
        ("/embed", "SAMEORIGIN"),
        ("/embed/", "SAMEORIGIN"),
        ("/embed/a/b", "SAMEORIGIN"),
        ("/embedded", "DENY"),
        ("/", "DENY"),
        ("/EMBED", "DENY"),
        ("//embed", "DENY"),
        ("/embed/../admin", "DENY"),
        ("/embed/%2e%2e/admin", "DENY"),
        ("/x/../embed", "DENY"),
        ("/embed;x/a", "DENY"),
    ],
)
async def test_a_route_has_its_own_policy_and_no_spelling_reaches_it_from_outside(
    path: str, frames: str
) -> None:
    """A weaker policy is a door; the path must have one reading to open it."""
    guarded = SecurityHeadersMiddleware(plain_app(), policy=HTML, routes={"/embed/*": LAX})

    assert (await request(guarded, http_scope(path))).headers["x-frame-options"] == frames


async def test_a_route_is_read_before_a_mount_rewrites_the_path() -> None:
    """Inside a mount ``/admin/embed`` looks like ``/embed``, and must not get its policy."""
    inner = Starlette(routes=[Route("/embed", hello)])
    app = Starlette(routes=[Mount("/admin", inner)])
    guarded = SecurityHeadersMiddleware(app, policy=HTML, routes={"/embed": LAX})

    answer = await request(guarded, http_scope("/admin/embed"))

    assert answer.status == 200
    assert answer.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("framework", [Starlette, FastAPI])
async def test_a_handler_can_carry_its_own_policy(framework: Any) -> None:
    """The one page that partners frame says so where it is written."""
    app = framework()
    app.add_route("/plain", hello)
    app.add_route("/framed", security_headers(LAX)(lambda _request: PlainTextResponse("framed")))
    guarded = SecurityHeadersMiddleware(app, policy=HTML)

    framed = await request(guarded, http_scope("/framed"))
    plain = await request(guarded, http_scope("/plain"))

    assert (framed.status, framed.headers["x-frame-options"]) == (200, "SAMEORIGIN")
    assert plain.headers["x-frame-options"] == "DENY"


async def test_a_fastapi_handler_keeps_its_signature_under_the_decorator() -> None:
    """Path parameters are read from the function."""
    app = FastAPI()

    @app.get("/framed/{number}")
    @security_headers(LAX)
    def framed(number: int) -> int:
        return number

    answer = await request(SecurityHeadersMiddleware(app, policy=HTML), http_scope("/framed/7"))

    assert answer.body == b"7"
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"


def tenant_app() -> Any:
    app = plain_app()

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        context = UserExecutionContext(tenant_id=scope["path"].strip("/"), user_id="u")
        with use_context(context):
            await app(scope, receive, send)

    return serve


@pytest.mark.parametrize("tenants", [{"acme": LAX}, {"acme": LAX}.get])
async def test_a_tenant_has_its_own_policy_once_it_is_proven(tenants: Any) -> None:
    """One customer frames the app in an intranet; the others stay unframed."""
    guarded = SecurityHeadersMiddleware(tenant_app(), policy=HTML, tenants=tenants)

    acme = await request(guarded, http_scope("/acme"))
    other = await request(guarded, http_scope("/other"))
    nobody = await request(SecurityHeadersMiddleware(plain_app(), policy=HTML, tenants=tenants))

    assert acme.headers["x-frame-options"] == "SAMEORIGIN"
    assert other.headers["x-frame-options"] == "DENY"
    assert nobody.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("answer_of", [lambda _tenant: 1 / 0, lambda _tenant: "DENY"])
async def test_a_tenant_look_up_that_fails_leaves_the_default_and_an_event(answer_of: Any) -> None:
    """A broken table must neither lose the headers nor the response."""
    guarded = SecurityHeadersMiddleware(tenant_app(), policy=HTML, tenants=answer_of)

    with collected_events() as seen:
        answer = await request(guarded, http_scope("/acme"))

    assert answer.headers["x-frame-options"] == "DENY"
    assert [event.reason for event in seen.events] == ["tenant_policy_failed"]
