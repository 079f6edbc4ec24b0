"""The full table: resolver x tenant of the token x membership x status, over HTTP.

The expectation is written from the rules, not from the code: a caller gets in when a tenant is
named, the credential is bound to that tenant or to none, and the membership is active on both
sides. Everything else gets the one refusal.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from asgi_guard.protocols import Principal, Receive, Scope, Send
from asgi_guard.tenancy import (
    ChainResolver,
    ClaimResolver,
    HeaderResolver,
    PathResolver,
    Status,
    SubdomainResolver,
    TenantContextMiddleware,
)
from tests.support.exchange import Answer
from tests.support.tenancy_calls import get
from tests.support.tenancy_world import ACME, GLOBEX, Directory, SignedIn, who

BASE = "app.example"


async def custom(scope: Scope, _principal: Principal) -> str | None:
    """Name the tenant by a rule of one's own."""
    return ACME if b"acme" in dict(scope["headers"]).get(b"x-plan", b"") else None


# Each way to name ACME: a resolver, and how the request then looks.
WAYS: dict[str, tuple[Any, dict[str, Any]]] = {
    "claim": (ClaimResolver("org"), {}),
    "subdomain": (SubdomainResolver(BASE), {"host": f"{ACME}.{BASE}"}),
    "header": (HeaderResolver(), {"headers": {"x-tenant-id": ACME}}),
    "path": (PathResolver(), {"path": f"/t/{ACME}/notes"}),
    "custom": (custom, {"headers": {"x-plan": "acme"}}),
    "chain": (
        ChainResolver(PathResolver(), HeaderResolver()),
        {"path": f"/t/{ACME}/notes", "headers": {"x-tenant-id": ACME}},
    ),
}
TOKEN_TENANTS = [None, ACME, GLOBEX]
MEMBERSHIPS = [None, *itertools.product(Status, Status)]


async def tell(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer with who the request runs for."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": who().encode()})


async def request(
    way: str, token_tenant: str | None, membership: Any, **settings: Any
) -> tuple[Answer, Directory]:
    """Send alice's request and return the answer."""
    resolver, shape = WAYS[way]
    directory = Directory()
    if membership is not None:
        directory.put("alice", ACME, member=membership[0], tenant=membership[1])
    directory.put("alice", GLOBEX)
    principal = Principal(user_id="alice", tenant_id=token_tenant, claims={"org": ACME})
    app = SignedIn(
        TenantContextMiddleware(tell, resolver=resolver, memberships=directory, **settings),
        principal=principal,
    )
    headers = {"x-request-id": "the-same-id", **shape.get("headers", {})}
    host = shape.get("host", BASE)
    answer = await get(app, shape.get("path", "/notes"), headers, host=host)
    return answer, directory


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("token_tenant", TOKEN_TENANTS, ids=["claimless", "bound", "foreign"])
@pytest.mark.parametrize("membership", MEMBERSHIPS, ids=str)
async def test_a_caller_is_let_in_by_the_rules_and_else_gets_the_one_refusal(
    way: str, token_tenant: str | None, membership: Any
) -> None:
    """180 rows; each refused one is byte for byte the answer to a tenant that does not exist."""
    answer, directory = await request(
        way, token_tenant, membership, request_id_header="x-request-id"
    )
    unknown, _ = await request(way, None, None, request_id_header="x-request-id")

    allowed = token_tenant in (None, ACME) and membership == (Status.ACTIVE, Status.ACTIVE)
    if allowed:
        assert (answer.status, answer.body.decode()) == (200, f"{ACME} alice")
    else:
        assert answer.status == 404
        assert answer.sent == unknown.sent
    assert directory.asked == [("alice", ACME)], "the look-up is made once, allowed or not"


@pytest.mark.parametrize("token_tenant", TOKEN_TENANTS, ids=["claimless", "bound", "foreign"])
async def test_without_memberships_the_credential_alone_decides(token_tenant: str | None) -> None:
    """Tenant-bound tokens of an identity provider that keeps the memberships itself."""
    principal = Principal(user_id="alice", tenant_id=token_tenant, claims={})
    app = SignedIn(TenantContextMiddleware(tell, resolver=ClaimResolver()), principal=principal)

    answer = await get(app)

    if token_tenant is None:
        assert answer.status == 403
        assert b"tenant_missing" in answer.body
    else:
        assert answer.body.decode() == f"{token_tenant} alice"


async def test_a_claim_that_contradicts_the_binding_is_refused() -> None:
    """The authenticator bound the credential to one tenant, and a claim names another."""
    principal = Principal(user_id="alice", tenant_id=GLOBEX, claims={"org": ACME})
    app = SignedIn(
        TenantContextMiddleware(tell, resolver=ClaimResolver("org")), principal=principal
    )

    assert (await get(app)).status == 404


@pytest.mark.parametrize("membership", MEMBERSHIPS[:3], ids=str)
async def test_the_one_refusal_is_a_403_where_that_is_set(membership: Any) -> None:
    """Some clients treat 404 as a wrong address; it stays one answer."""
    settings = {"not_found_status": 403, "request_id_header": "x-request-id"}
    answer, _ = await request("header", GLOBEX, membership, **settings)
    unknown, _ = await request("header", None, None, **settings)

    assert answer.status == 403
    assert answer.sent == unknown.sent
    assert b"tenant_forbidden" in answer.body
