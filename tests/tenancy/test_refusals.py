"""Each refusal of the tenancy middleware: what the caller reads, and what the operator does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asgi_guard.errors import UnavailableError
from asgi_guard.protocols import Principal, Receive, Scope, Send
from asgi_guard.tenancy import (
    ChainResolver,
    ClaimResolver,
    HeaderResolver,
    Membership,
)
from tests.support.exchange import Events
from tests.support.tenancy_calls import Socket, get
from tests.support.tenancy_guarded import ALICE, guarded
from tests.support.tenancy_world import ACME, GLOBEX


class Broken:
    """Memberships, or a resolver, whose database is away."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure

    async def lookup(self, user_id: str, tenant_id: str) -> Membership | None:
        raise self.failure

    async def resolve(self, scope: Scope, principal: Principal) -> str | None:
        raise self.failure


class Truthy:
    """Memberships that answer with something that is not one."""

    async def lookup(self, user_id: str, tenant_id: str) -> Membership | None:
        return True  # type: ignore[return-value]


SQL = OSError("SELECT role FROM memberships WHERE secret")
AWAY = Broken(SQL)
FULL = Broken(UnavailableError("pool_exhausted"))
NAMELESS = Principal(user_id="")
EXPIRED = Principal(user_id="alice", expires_at=1.0)
NOT_UUID = {**ALICE, "x-tenant-id": "acme"}
TWICE = [*ALICE.items(), ("x-tenant-id", ACME)]
TWO_IDS = [*ALICE.items(), ("x-request-id", "first-one"), ("x-request-id", "second-one")]
FOREIGN = {**ALICE, "x-token-tenant": GLOBEX}
BOTH = ChainResolver(HeaderResolver(), ClaimResolver())

STATUS = {
    "unauthenticated": 401,
    "tenant_missing": 403,
    "tenant_invalid": 400,
    "request_invalid": 400,
    "tenant_not_found": 404,
    "unavailable": 503,
}
# What the operator reads; the settings; what is sent; what the caller reads.
REFUSALS: list[tuple[str, dict[str, Any], Any, str]] = [
    ("no_credential", {}, {}, "unauthenticated"),
    ("no_credential", {}, {"x-tenant-id": ACME}, "unauthenticated"),
    ("no_credential", {}, {"x-tenant-id": "%"}, "unauthenticated"),
    ("principal_without_user", {"principal": NAMELESS}, ALICE, "unauthenticated"),
    ("credential_expired", {"principal": EXPIRED}, ALICE, "unauthenticated"),
    ("tenant_not_named", {}, {"x-user": "alice"}, "tenant_missing"),
    ("tenant_not_uuid", {}, NOT_UUID, "tenant_invalid"),
    ("tenant_not_uuid", {"resolver": lambda _scope, _who: 7}, ALICE, "tenant_invalid"),
    ("duplicate_x_tenant_id", {}, TWICE, "request_invalid"),
    ("duplicate_x_request_id", {"request_id_header": "X-Request-ID"}, TWO_IDS, "request_invalid"),
    ("not_a_member", {}, {**ALICE, "x-tenant-id": GLOBEX}, "tenant_not_found"),
    ("credential_bound_to_another_tenant", {}, FOREIGN, "tenant_not_found"),
    ("resolvers_disagree", {"resolver": BOTH}, FOREIGN, "tenant_not_found"),
    ("memberships_unreachable", {"memberships": AWAY}, ALICE, "unavailable"),
    ("pool_exhausted", {"memberships": FULL}, ALICE, "unavailable"),
    ("membership_malformed", {"memberships": Truthy()}, ALICE, "unavailable"),
    ("resolver_failed", {"resolver": AWAY}, ALICE, "unavailable"),
]


@pytest.mark.parametrize(("reason", "settings", "headers", "code"), REFUSALS)
async def test_each_refusal_has_its_status_and_leaves_one_event_with_the_reason(
    reason: str, settings: dict[str, Any], headers: Any, code: str, events: Events
) -> None:
    """The caller learns the code; the operator learns why, under the same request id."""
    reached: list[Scope] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        reached.append(scope)

    answer = await get(guarded(app, **settings), "/notes", headers)

    problem = json.loads(answer.body)
    assert (answer.status, problem["code"]) == (STATUS[code], code)
    assert reached == []
    (event,) = events.seen
    assert (event.name, event.reason) == ("TENANT_REFUSED", reason)
    assert event.outcome == ("error" if code == "unavailable" else "denied")
    assert event.request_id == answer.header("x-request-id") == problem["request_id"]
    assert b"SELECT" not in answer.body
    assert "SELECT" not in repr(event)
    assert (answer.header("www-authenticate") is not None) is (code == "unauthenticated")


async def test_the_event_of_a_refusal_names_the_user_and_the_tenant_as_merely_named(
    events: Events,
) -> None:
    """An operator who follows an attack needs both, and must not take the claim for proven."""
    await get(guarded(), "/notes", {**ALICE, "x-tenant-id": GLOBEX})

    (event,) = events.seen
    assert (event.user_id, event.tenant_id, event.client) == ("alice", None, "203.0.113.9")
    assert event.details["named_tenant"] == GLOBEX


async def test_unknown_and_foreign_tenants_get_one_answer_over_a_websocket_too(
    events: Events,
) -> None:
    """Before accept: with a response where the server can, else closed with 1008."""
    app = guarded(request_id_header="x-request-id")
    for denial in (True, False):
        sent = []
        for tenant, token in ((GLOBEX, ""), (ACME, GLOBEX)):
            headers = {"x-user": "alice", "x-tenant-id": tenant, "x-request-id": "same-for-both"}
            if token:
                headers["x-token-tenant"] = token
            async with Socket(app, "/ws", headers, denial=denial) as socket:
                await socket.next()
            sent.append(socket.sent)

        assert sent[0] == sent[1]
        kinds = [message["type"] for message in sent[0]]
        expected = ["websocket.http.response.start", "websocket.http.response.body"]
        assert kinds == (expected if denial else ["websocket.close"])
    assert len(events.seen) == 4
