"""TenantContextMiddleware: request ids, and what the context carries."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_guard._internal.principal import SCOPE_KEY
from asgi_guard.errors import RequestInvalidError, TenantInvalidError
from asgi_guard.protocols import Principal, Receive, Scope, Send
from asgi_guard.tenancy import (
    SLUG,
    HeaderResolver,
    PathResolver,
    TenantContextMiddleware,
    UserExecutionContext,
    current_context,
    require_context,
)
from tests.support.exchange import Events, ask, http_scope
from tests.support.tenancy_calls import get
from tests.support.tenancy_guarded import ALICE, MEMBERS, guarded, ok
from tests.support.tenancy_world import ACME, Directory, MovedClock


async def test_the_context_carries_what_the_credential_and_the_membership_prove() -> None:
    """Everything further in, row-level security and audit, reads it from here."""
    seen: list[UserExecutionContext] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(require_context())
        await ok(scope, receive, send)

    principal = Principal(
        user_id="alice",
        tenant_id=ACME,
        roles=frozenset({"staff"}),
        scopes=frozenset({"notes:read"}),
        auth_method="api_key",
        session_id="s-1",
        issued_at=5.0,
        expires_at=4e9,
    )
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"x-tenant-id": ACME, "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    answer = await get(guarded(app, principal=principal), "/notes", headers)

    assert seen == [
        UserExecutionContext(
            tenant_id=ACME,
            user_id="alice",
            session_id="s-1",
            request_id=answer.header("x-request-id"),
            roles={"staff", "member"},
            scopes={"notes:read"},
            auth_method="api_key",
            operation="http GET",
            trace_id=trace,
            issued_at=5.0,
            expires_at=4e9,
            client="203.0.113.9",
        )
    ]


@pytest.mark.parametrize(
    ("operation", "expected"),
    [(None, "http GET"), ("notes", "notes"), (lambda scope: scope["path"][1:], "notes")],
)
async def test_the_operation_is_named_as_configured(operation: Any, expected: str) -> None:
    """By default without the path, which may hold a token or a person's name."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(require_context().operation)
        await ok(scope, receive, send)

    await get(guarded(app, operation=operation), "/notes", ALICE)

    assert seen == [expected]


@pytest.mark.parametrize(
    ("inbound", "taken"),
    [
        ("0af7651916cd43dd8448eb211c80319c", True),
        ("short", False),
        ("x" * 129, False),
        ("has space in it", False),
        ("line\nbreak-in-it", False),
        ("<script>alert(1)</script>", False),
    ],
)
async def test_a_trusted_request_id_is_taken_when_well_formed(inbound: str, taken: bool) -> None:  # noqa: FBT001 - a table
    """It ends in logs and in the response."""
    trusted = guarded(request_id_header="X-Request-ID")
    answer = await get(trusted, "/notes", {**ALICE, "x-request-id": inbound})

    assert (answer.header("x-request-id") == inbound) is taken


async def test_no_inbound_request_id_is_believed_unless_configured() -> None:
    """A caller who chooses the id can make two requests look like one in the log."""
    inbound = "chosen-by-the-caller"

    answer = await get(guarded(), "/notes", {**ALICE, "x-request-id": inbound})

    assert answer.header("x-request-id") != inbound


async def test_the_response_carries_our_request_id_and_all_else_of_the_apps() -> None:
    """One id, the one in the events; the app's list itself is left as it was."""
    answer = await get(guarded(), "/notes", ALICE)
    elsewhere = await get(guarded(request_id_response_header="X-Trace"), "/notes", ALICE)
    nowhere = await get(guarded(request_id_response_header=None), "/notes", ALICE)

    assert answer.header("x-request-id") != "made-by-the-app"
    assert answer.header("x-kept") == "yes"
    assert elsewhere.header("x-trace") is not None
    assert nowhere.headers[:2] == [("x-request-id", "made-by-the-app"), ("x-kept", "yes")]


async def test_an_error_of_the_app_comes_out_unchanged_and_the_context_is_gone(
    events: Events,
) -> None:
    """Also one of our own kinds: a refusal by the app is not a refusal of the tenant."""
    for error in (ZeroDivisionError(), RequestInvalidError("app"), TenantInvalidError("app")):

        async def app(
            _scope: Scope, _receive: Receive, _send: Send, error: Exception = error
        ) -> None:
            raise error

        for path, headers in (("/notes", ALICE), ("/public", {})):
            with pytest.raises(type(error)) as caught:
                await get(guarded(app, public_paths=["/public"]), path, headers)
            assert caught.value is error
            assert current_context() is None
    assert events.seen == []


async def test_the_apps_scope_is_the_servers_with_the_tenants_prefix_moved() -> None:
    """Layers outside read what the router writes into it, so it is the same object."""
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        scope["endpoint"] = "written by the router"
        await ok(scope, receive, send)

    for resolver, root in ((HeaderResolver(), ""), (PathResolver(), f"/t/{ACME}")):
        middleware = TenantContextMiddleware(app, resolver=resolver, memberships=MEMBERS)
        server = http_scope(path=f"/t/{ACME}/notes", headers=ALICE)
        server[SCOPE_KEY] = Principal(user_id="alice")
        await ask(middleware, server)

        assert scopes[-1] is server
        assert (server["root_path"], server["path"]) == (root, f"/t/{ACME}/notes")


async def test_installed_twice_the_inner_one_decides_and_agrees() -> None:
    """A mounted app may bring its own."""
    seen: list[UserExecutionContext] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(require_context())
        await ok(scope, receive, send)

    inner = TenantContextMiddleware(app, resolver=HeaderResolver(), memberships=MEMBERS)
    answer = await get(guarded(inner), "/notes", ALICE)

    assert answer.status == 200
    assert seen[0].request_id == answer.header("x-request-id")


async def test_other_shapes_of_tenant_ids_are_a_setting() -> None:
    """Most apps have slugs or integers."""
    members = Directory(("alice", "acme"))
    app = guarded(tenant_shape=SLUG, memberships=members)

    good = await get(app, "/", {"x-user": "alice", "x-tenant-id": "acme"})
    bad = await get(app, "/", {"x-user": "alice", "x-tenant-id": "Acme"})

    assert (good.status, bad.status) == (200, 400)
    assert members.asked == [("alice", "acme")], "what has another shape is not looked up"


async def test_the_clock_of_the_credential_can_be_set() -> None:
    """Expiry to the moment."""
    clock = MovedClock()
    principal = Principal(user_id="alice", expires_at=clock.now() + 60)
    app = guarded(clock=clock, principal=principal)
    assert (await get(app, "/", ALICE)).status == 200

    clock.time += 60

    assert (await get(app, "/", ALICE)).status == 401
