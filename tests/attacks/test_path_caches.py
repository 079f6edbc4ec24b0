"""A cache files answers by URL and by the request headers that ``Vary`` names (RFC 9111, 4.1).

Where a header names the tenant, the URL is the same for all: the browser of somebody who works
for two tenants would show the one's answer for the other, once the app lets it keep any.
"""

from __future__ import annotations

import pytest

from asgi_guard.protocols import ASGIApp, Receive, Scope, Send
from asgi_guard.tenancy import (
    ChainResolver,
    ClaimResolver,
    HeaderResolver,
    PathResolver,
    TenantContextMiddleware,
)
from asgi_guard.tenancy.resolvers.custom import ResolverLike
from tests.support.tenancy_calls import get
from tests.support.tenancy_world import ACME, GLOBEX, Directory, SignedIn

RESOLVERS: dict[str, ResolverLike] = {
    "header": HeaderResolver("X-Tenant"),
    "chain": ChainResolver(PathResolver(), HeaderResolver("X-Tenant"), ClaimResolver()),
}


async def kept(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer with what a browser may keep for a minute."""
    headers = [(b"cache-control", b"private, max-age=60"), (b"vary", b"Accept")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"rows"})


def guarded(resolver: ResolverLike) -> ASGIApp:
    return SignedIn(
        TenantContextMiddleware(
            kept,
            resolver=resolver,
            memberships=Directory(("alice", ACME)),
            public_paths=["/public"],
        )
    )


@pytest.mark.parametrize("resolver", RESOLVERS.values(), ids=RESOLVERS)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-user": "alice", "x-tenant": ACME}, 200),
        ({"x-user": "alice", "x-tenant": GLOBEX}, 404),
        ({"x-user": "alice", "x-tenant": "?"}, 400),
        ({}, 401),
    ],
)
async def test_an_answer_says_that_it_depends_on_the_header_that_names_the_tenant(
    headers: dict[str, str], status: int, resolver: ResolverLike
) -> None:
    """Refusals too, and alike: what varies must not tell one refusal from another."""
    answer = await get(guarded(resolver), "/notes", headers)

    assert answer.status == status
    assert (answer.header("vary") or "").lower() == (
        "accept, x-tenant" if status == 200 else "x-tenant"
    )


async def test_what_depends_on_no_tenant_or_not_on_a_header_keeps_its_own_vary() -> None:
    """A longer list makes caches useless for nothing."""
    public = await get(guarded(RESOLVERS["header"]), "/public", {"x-tenant": ACME})
    by_path = await get(guarded(PathResolver()), f"/t/{ACME}/notes", {"x-user": "alice"})

    assert public.header("vary") == by_path.header("vary") == "Accept"
