"""The same promises, kept under every host."""

from __future__ import annotations

import logging

import pytest

from asgi_guard.protocols import ASGIApp
from asgi_guard.stack import Guard
from tests.support.hosts_apps import HOSTS, WITH_WEBSOCKETS
from tests.support.hosts_client import get, is_protected, open_socket, problem
from tests.support.hosts_guard import ACME, GLOBEX, guard_settings, token
from tests.support.hosts_lifespan import served
from tests.support.hosts_pages import Lives

Installed = tuple[ASGIApp, Lives]

ALICE = token("alice", ACME)


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> Installed:
    """Give each host, guarded, and what its own lifespan writes down."""
    lives: Lives = []
    return Guard(guard_settings()).install(HOSTS[request.param](lives)), lives


async def test_a_handler_runs_for_the_proven_user_and_tenant(host: Installed) -> None:
    """Everything else rests on it."""
    answer = await get(host[0], "/whoami", ALICE)

    assert (answer.status, answer.body.decode()) == (200, f"alice in {ACME}")
    assert is_protected(answer)


async def test_a_public_path_runs_for_nobody_even_with_a_credential(host: Installed) -> None:
    """A health check must not become a way to act in a tenant that was not checked."""
    assert (await get(host[0], "/health")).body == b"nobody"
    assert (await get(host[0], "/health", ALICE)).body == b"nobody"


async def test_without_a_credential_the_answer_is_a_401_problem(host: Installed) -> None:
    """The one refusal that tells its caller what to bring (RFC 9110 section 11.6.1)."""
    answer = await get(host[0], "/whoami")

    assert problem(answer)["code"] == "unauthenticated"
    assert answer.status == 401
    assert answer.header("www-authenticate") is not None
    assert is_protected(answer)


async def test_a_foreign_and_an_unknown_tenant_are_answered_alike(host: Installed) -> None:
    """Which tenants exist is nobody's business."""
    foreign = problem(await get(host[0], "/whoami", token("alice", GLOBEX)))
    unknown = problem(await get(host[0], "/whoami", token("alice", ACME[:-1] + "0")))

    assert foreign | {"request_id": ""} == unknown | {"request_id": ""}
    assert foreign["code"] == "tenant_not_found"


@pytest.mark.parametrize(
    ("path", "status"), [("/missing", 404), ("/only-post", 405), ("/boom", 500)]
)
async def test_the_hosts_own_errors_carry_the_same_protection(
    host: Installed, path: str, status: int
) -> None:
    """An error page can be framed, sniffed and read across origins like any other."""
    answer = await get(host[0], path, ALICE)

    assert answer.status == status
    assert is_protected(answer)


async def test_a_refusal_by_a_handler_keeps_its_status(host: Installed) -> None:
    """A framework makes a 500 of every error that it does not know."""
    answer = await get(host[0], "/refused", ALICE)

    assert (answer.status, problem(answer)["code"]) == (403, "insufficient_scope")
    assert is_protected(answer)


@pytest.mark.parametrize("path", ["/violation", "/swallow"])
async def test_a_crossed_wall_is_a_500_whatever_the_handler_makes_of_it(
    host: Installed, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A handler that catches everything must not turn it into a 200."""
    caplog.set_level(logging.CRITICAL, "asgi_guard")

    answer = await get(host[0], path, ALICE)

    assert problem(answer)["code"] == "RLS_NOT_ENFORCED"
    assert answer.status == 500
    assert is_protected(answer)


async def test_nothing_of_one_request_is_left_for_the_next(host: Installed) -> None:
    """A violation, or a context, that lingers would answer for somebody else."""
    await get(host[0], "/swallow", ALICE)

    assert (await get(host[0], "/whoami", token("bob", GLOBEX))).body.decode() == f"bob in {GLOBEX}"
    assert (await get(host[0], "/health")).body == b"nobody"


@pytest.mark.parametrize("name", WITH_WEBSOCKETS)
async def test_a_websocket_runs_for_its_tenant_and_a_stranger_is_refused(name: str) -> None:
    """A socket lives long: who it runs for is decided before it is accepted."""
    lives: Lives = []
    app = Guard(guard_settings()).install(HOSTS[name](lives))
    own = {"origin": "http://app.example"}

    async with served(app):
        friend = await open_socket(app, "/socket", ALICE | own)
        stranger = await open_socket(app, "/socket", token("alice", GLOBEX) | own)

    said = [message.get("text") for message in friend.sent]
    assert friend.sent[0]["type"] == "websocket.accept"
    assert f"alice in {ACME}" in said
    assert problem(stranger)["code"] == "tenant_not_found"


@pytest.mark.parametrize("denial", [True, False])
@pytest.mark.parametrize("name", WITH_WEBSOCKETS)
async def test_a_socket_that_its_handler_refuses_is_not_accepted(
    name: str, *, denial: bool
) -> None:
    """With an HTTP answer where the server can carry one, else with 1008, which becomes a 403."""
    app = Guard(guard_settings()).install(HOSTS[name]([]))
    headers = ALICE | {"origin": "http://app.example"}

    async with served(app):
        refused = await open_socket(app, "/refusing", headers, denial=denial)

    if denial:
        assert problem(refused)["code"] == "insufficient_scope"
    else:
        [close] = refused.sent
        assert (close["type"], close["code"]) == ("websocket.close", 1008)


async def test_the_hosts_own_lifespan_runs_inside_the_guard(host: Installed) -> None:
    """A host that has none (Django) is started all the same: the checks need the moment."""
    app, lives = host

    async with served(app) as server:
        started = list(lives)

    assert server.error is None
    assert server.kinds == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert (started, lives) in (([], []), (["started"], ["started", "stopped"]))


@pytest.mark.parametrize("name", ["starlette", "fastapi", "quart"])
def test_these_hosts_are_guarded_in_place(name: str) -> None:
    """``uvicorn main:app`` must serve the guarded app, whatever became of the return value."""
    app = HOSTS[name]([])

    assert Guard(guard_settings()).install(app) is app


@pytest.mark.parametrize("name", ["raw", "litestar", "django"])
def test_for_other_hosts_the_guarded_app_is_what_comes_back(name: str) -> None:
    """They offer no place to stand outside of their error handling."""
    app = HOSTS[name]([])

    assert Guard(guard_settings()).install(app) is not app
