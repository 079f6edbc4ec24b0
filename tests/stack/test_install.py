"""One guard, outermost, on an app that has not begun to serve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from asgi_guard.errors import ConfigError
from asgi_guard.protocols import ASGIApp, Receive, Scope, Send
from asgi_guard.stack import Guard
from tests.support.hosts_apps import HOSTS
from tests.support.hosts_client import get, problem
from tests.support.hosts_guard import ACME, guard_settings, token
from tests.support.hosts_raw import raw_app
from tests.support.hosts_starlette import starlette_app

ALICE = token("alice", ACME)


class Wrapper:
    """A middleware of somebody else, which keeps its app where all do."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def guard() -> Guard:
    return Guard(guard_settings())


@pytest.mark.parametrize("name", HOSTS)
def test_a_second_guard_on_one_app_is_refused(name: str) -> None:
    """Two guards could prove two tenants for one request."""
    guarded = guard().install(HOSTS[name]([]))

    with pytest.raises(ConfigError, match="a guard around this app, or inside it, already"):
        guard().install(guarded)


@pytest.mark.parametrize("wrap", [Wrapper, lambda app: Starlette(routes=[Mount("/in", app)])])
@pytest.mark.parametrize("name", HOSTS)
def test_a_guarded_app_inside_another_is_found(name: str, wrap: Callable[[Any], Any]) -> None:
    """A mount hides the first guard from whoever installs the second."""
    guarded = guard().install(HOSTS[name]([]))

    with pytest.raises(ConfigError, match="Install one guard, on the outermost app"):
        guard().install(wrap(guarded))


@pytest.mark.parametrize("name", HOSTS)
async def test_a_guard_inside_a_guard_that_could_not_be_seen_answers_500(name: str) -> None:
    """What installation cannot see, the first request does; neither tenant is believed."""
    inner = guard().install(HOSTS[name]([]))

    async def opaque(scope: Scope, receive: Receive, send: Send) -> None:
        await inner(scope, receive, send)

    answer = await get(guard().install(opaque), "/whoami", ALICE)

    assert (answer.status, problem(answer)["code"]) == (500, "config_invalid")


async def test_a_scope_may_pass_the_guard_twice_one_after_the_other() -> None:
    """A layer outside that retries is no second guard."""
    guarded = guard().install(raw_app([]))
    scopes: list[Scope] = []

    async def twice(scope: Scope, receive: Receive, send: Send) -> None:
        async def nothing(_message: Any) -> None:
            scopes.append(scope)

        await guarded(scope, receive, nothing)
        await guarded(scope, receive, send)

    assert (await get(twice, "/whoami", ALICE)).status == 200


def test_an_app_that_has_served_already_is_refused() -> None:
    """Starlette fixes its layers at the first request; a guard after it would guard nothing."""
    app = starlette_app([])
    TestClient(app).get("/health")

    with pytest.raises(ConfigError, match="already served a request"):
        guard().install(app)


async def test_a_middleware_added_later_runs_inside_the_guard() -> None:
    """``app.add_middleware`` must keep working, and must not end up outside."""
    app = guard().install(starlette_app([]))
    seen: list[str] = []

    class Later(Wrapper):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                seen.append(scope["path"])
            await self.app(scope, receive, send)

    app.add_middleware(Later)
    refused = await get(app, "/whoami")
    served = await get(app, "/whoami", ALICE)

    assert (refused.status, served.status) == (401, 200)
    assert seen == ["/whoami"]


def test_a_debug_app_is_refused_in_production() -> None:
    """Starlette's debug page shows source code and local variables to the caller."""
    production = Guard(guard_settings(environment="production"))

    with pytest.raises(ConfigError, match="shows source code"):
        production.install(starlette_app([], debug=True))


async def test_one_guard_may_stand_around_two_apps() -> None:
    """Two processes' worth of apps can share one set of settings."""
    shared = guard()
    first, second = shared.install(raw_app([])), shared.install(starlette_app([]))

    assert (await get(first, "/whoami", ALICE)).status == 200
    assert (await get(second, "/whoami", ALICE)).status == 200


def test_a_wrong_setting_of_a_layer_is_known_before_there_is_an_app() -> None:
    """Some rooms check their part when the layer is built; a guard builds each at once."""
    with pytest.raises(ConfigError, match="public_paths"):
        Guard(guard_settings(public_paths=["no-slash"]))


@pytest.mark.parametrize("given", ["main:app", None, Starlette])
def test_what_is_no_app_is_refused(given: Any) -> None:
    """A class or an import string would be wrapped, and fail at the first request."""
    with pytest.raises(ConfigError, match="is no ASGI app"):
        guard().install(given)
