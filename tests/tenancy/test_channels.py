"""Every way in which code of a request runs, on three hosts: the context is right, or refused."""

from __future__ import annotations

import itertools

import pytest

from asgi_guard.protocols import ASGIApp
from asgi_guard.tenancy import HeaderResolver, TenantContextMiddleware, use_context
from tests.support.tenancy_calls import Socket, get, run_lifespan
from tests.support.tenancy_channels import PROBES, REFUSED
from tests.support.tenancy_hosts import HOSTS, late, started_as
from tests.support.tenancy_world import ACME, GLOBEX, Directory, SignedIn, context, who

ALICE = {"x-user": "alice", "x-tenant-id": ACME}
BOB = {"x-user": "bob", "x-tenant-id": GLOBEX}
REFUSING = {"bare_thread", "bare_executor"}
_keys = itertools.count()


def guarded(host: str) -> ASGIApp:
    """Put the tenancy middleware around *host*'s app."""
    return SignedIn(
        TenantContextMiddleware(
            HOSTS[host](),
            resolver=HeaderResolver(),
            memberships=Directory(("alice", ACME), ("bob", GLOBEX)),
            public_paths=["/public"],
        )
    )


@pytest.fixture(params=HOSTS)
def app(request: pytest.FixtureRequest) -> ASGIApp:
    """Give the guarded app on each host in turn."""
    return guarded(request.param)


@pytest.mark.parametrize("prefix", ["/probe/", "/mounted/probe/"], ids=["app", "mounted"])
@pytest.mark.parametrize("probe", PROBES)
async def test_code_started_by_a_handler_runs_for_its_caller_or_refuses(
    app: ASGIApp, probe: str, prefix: str
) -> None:
    """One lost hop, and a task reads for nobody; one stale hop, and it reads for another."""
    first = await get(app, f"{prefix}{probe}", ALICE)
    second = await get(app, f"{prefix}{probe}", BOB)

    expected = (REFUSED, REFUSED) if probe in REFUSING else (f"{ACME} alice", f"{GLOBEX} bob")
    assert (first.body.decode(), second.body.decode()) == expected
    assert who() == "none"


@pytest.mark.parametrize("path", ["/sync", "/mounted/inner", "/fail"])
async def test_sync_handlers_mounted_apps_and_exception_handlers_run_for_the_caller(
    app: ASGIApp, path: str
) -> None:
    """The host runs these in its thread pool, with another scope, or after an error."""
    first = await get(app, path, ALICE)
    second = await get(app, path, BOB)

    assert (first.body.decode(), second.body.decode()) == (f"{ACME} alice", f"{GLOBEX} bob")
    assert who() == "none"


async def test_dependencies_of_fastapi_run_for_the_caller() -> None:
    """They run in a task or thread of their own before the handler."""
    answer = await get(guarded("fastapi"), "/dependencies", ALICE)

    assert answer.body.decode() == f"{ACME} alice"


@pytest.mark.parametrize("path", ["/stream", "/sse"])
async def test_every_step_of_a_streamed_body_runs_for_the_caller(app: ASGIApp, path: str) -> None:
    """The body is produced after the handler has returned."""
    for headers, expected in ((ALICE, f"{ACME} alice"), (BOB, f"{GLOBEX} bob")):
        answer = await get(app, path, headers)

        lines = answer.body.decode().replace("data: ", "").split()
        assert lines == expected.split() * 3


@pytest.mark.parametrize("path", ["/background", "/background_thread"])
async def test_work_after_the_response_runs_for_the_caller(app: ASGIApp, path: str) -> None:
    """The client has its answer already; the next request may be under way."""
    for headers, expected in ((ALICE, f"{ACME} alice"), (BOB, f"{GLOBEX} bob")):
        key = str(next(_keys))
        await get(app, path, headers, query=f"key={key}")

        assert late.pop(key) == expected


async def test_somebody_elses_middleware_inside_sees_the_caller_before_and_after(
    app: ASGIApp,
) -> None:
    """BaseHTTPMiddleware runs what is inside of it in another task."""
    answer = await get(app, "/sync", ALICE)

    assert answer.header("x-before") == f"{ACME} alice"
    assert answer.header("x-after") == f"{ACME} alice"


async def test_a_websocket_handler_and_its_receive_loop_run_for_the_caller(app: ASGIApp) -> None:
    """Two sockets of two tenants, message by message in turn."""
    async with Socket(app, "/ws", ALICE) as alices, Socket(app, "/ws", BOB) as bobs:
        seen: dict[str, list[str]] = {"alice": [], "bob": []}
        for socket in (alices, bobs):
            assert (await socket.next())["type"] == "websocket.accept"
        for _ in range(3):
            seen["alice"].append((await alices.next())["text"])
            seen["bob"].append((await bobs.next())["text"])
            alices.say("more")
            bobs.say("more")

    assert seen == {"alice": [f"{ACME} alice"] * 3, "bob": [f"{GLOBEX} bob"] * 3}
    assert late.pop("websocket") in {f"{ACME} alice", f"{GLOBEX} bob"}


async def test_lifespan_runs_for_nobody(app: ASGIApp) -> None:
    """Even if the server was started by code that had a context."""
    started_as.clear()

    with use_context(context()):
        answers = await run_lifespan(app)

    assert answers == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert started_as == ["none"]


async def test_a_public_route_runs_for_nobody_whoever_asks(app: ASGIApp) -> None:
    """It was never decided which tenant it would be."""
    answer = await get(app, "/public", ALICE)

    assert answer.body.decode() == REFUSED


async def test_nothing_of_a_request_is_left_for_the_next_on_the_same_task(app: ASGIApp) -> None:
    """Refused, public and failed requests follow a good one directly."""
    with use_context(context(GLOBEX, "left-over")):
        await get(app, "/sync", ALICE)
        public = await get(app, "/public", ALICE)
        refused = await get(app, "/sync", {"x-user": "alice", "x-tenant-id": GLOBEX})
        assert who() == f"{GLOBEX} left-over"

    assert public.body.decode() == REFUSED
    assert refused.status == 404
    assert who() == "none"
