"""Each middleware also works by itself, added the way every Starlette user knows."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI

from asgi_guard.auth import AuthenticationMiddleware
from asgi_guard.cors import CORSAllowlistMiddleware, CORSPolicy, cors_policy
from asgi_guard.cross_origin import CrossOriginMiddleware
from asgi_guard.security_headers import (
    SecurityHeaders,
    SecurityHeadersMiddleware,
    security_headers,
)
from asgi_guard.stack import Guard
from asgi_guard.tenancy import ClaimResolver, TenantContextMiddleware, current_context
from asgi_guard.tenancy.fail_closed import FailClosedMiddleware
from tests.support.hosts_client import get, problem
from tests.support.hosts_guard import ACME, KnownTokens, Rosters, guard_settings, token
from tests.support.hosts_starlette import starlette_app

FRIEND = "https://friend.example"
FOREIGN = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}
ALICE = token("alice", ACME)


def with_only(middleware: Any, **options: Any) -> Any:
    app = starlette_app([])
    app.add_middleware(middleware, **options)
    return app


async def test_security_headers_alone() -> None:
    """Also on the 500 of an app that has no layer outside of its error handling."""
    app = with_only(SecurityHeadersMiddleware, policy=SecurityHeaders.api())

    for path in ("/health", "/missing", "/boom"):
        assert (await get(app, path)).header("x-frame-options") == "DENY"


async def test_cors_alone() -> None:
    """A grant for a friend and none for others."""
    app = with_only(CORSAllowlistMiddleware, policy=CORSPolicy(allow_origins=[FRIEND]))

    friend = await get(app, "/health", {"origin": FRIEND})
    stranger = await get(app, "/health", {"origin": "https://evil.example"})

    assert friend.header("access-control-allow-origin") == FRIEND
    assert stranger.header("access-control-allow-origin") is None


async def test_cross_origin_alone() -> None:
    """A stranger's page is refused, the app's own is not."""
    app = with_only(CrossOriginMiddleware)

    refused = await get(app, "/health", FOREIGN | {"cookie": "session=1"})

    assert refused.status == 403
    assert (await get(app, "/health", {"sec-fetch-site": "same-origin"})).status == 200


async def test_authentication_alone() -> None:
    """A wrong credential is refused; none at all is nobody."""
    app = with_only(AuthenticationMiddleware, authenticators=[KnownTokens()])

    assert (await get(app, "/health", {"authorization": "Bearer !"})).status == 401
    assert (await get(app, "/health")).status == 200


async def test_authentication_and_tenancy_alone() -> None:
    """The last that is added stands outermost: identity first, then the tenant."""
    app = with_only(
        TenantContextMiddleware, resolver=ClaimResolver(), memberships=Rosters(), public_paths=()
    )
    app.add_middleware(AuthenticationMiddleware, authenticators=[KnownTokens()])

    answer = await get(app, "/whoami", {"authorization": f"Bearer alice@{ACME}"})

    assert answer.body.decode() == f"alice in {ACME}"
    assert problem(await get(app, "/whoami"))["code"] == "unauthenticated"


async def test_fail_closed_alone() -> None:
    """A swallowed violation is a 500 without any other layer of ours."""
    app = with_only(FailClosedMiddleware)

    assert (await get(app, "/swallow")).status == 500
    assert (await get(app, "/health")).status == 200


@pytest.mark.parametrize("path", ["/embed", "/in/embed"])
async def test_a_handlers_own_policies_hold_under_the_guard(path: str) -> None:
    """The layers that read the mark stand far outside of the router that finds the handler."""
    inner, app = FastAPI(), FastAPI()

    async def embed() -> str:
        context = current_context()
        return "nobody" if context is None else context.user_id

    framed = SecurityHeaders.html().replace(x_frame_options="SAMEORIGIN")
    marked = security_headers(framed)(cors_policy(CORSPolicy(allow_origins=[FRIEND]))(embed))
    app.get("/embed")(marked)
    inner.get("/embed")(marked)
    app.mount("/in", inner)
    Guard(guard_settings(cors=CORSPolicy())).install(app)

    answer = await get(app, path, ALICE | {"origin": FRIEND})

    assert answer.header("x-frame-options") == "SAMEORIGIN"
    assert answer.header("access-control-allow-origin") == FRIEND
