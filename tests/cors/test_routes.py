"""An endpoint or a path may have a policy of its own; no spelling of a path reaches another's."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, unquote_plus

import pytest
from fastapi import APIRouter, FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, Router
from starlette.testclient import TestClient

from asgi_guard.cors import CORSAllowlistMiddleware, CORSPolicy, cors_policy
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import ASGIApp
from tests.support.cors_client import Answer, ask, hello, preflight, recorded_events

APP = "https://app.example.com"
EVIL = "https://evil.example"
STRICT = CORSPolicy(allow_origins=[APP], allow_credentials=True)
OPEN = CORSPolicy(allow_origins=["*"], allow_methods=["GET", "PUT"])


def public(answer: Answer) -> bool:
    """Tell whether the answer may be read by every page."""
    return answer.values("access-control-allow-origin") == ["*"]


BY_PATH = CORSAllowlistMiddleware(
    hello,
    policy=CORSPolicy(
        allow_origins=[APP],
        allow_credentials=True,
        routes={"/public/*": OPEN, "/public/admin/*": STRICT, "/feed": OPEN},
    ),
)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/public", True),
        ("/public/", True),
        ("/public/a/b", True),
        ("/public/a+b", True),
        ("/feed", True),
        ("/feed/", True),
        ("/feed?x=/public", True),
        ("/", False),
        ("/feed/x", False),
        ("/publicity", False),
        ("/public+", False),
        ("/+public", False),
        ("/public/admin", False),
        ("/public/admin/x", False),
        ("/private?x=/public", False),
    ],
)
async def test_a_rule_covers_its_path_and_nothing_that_merely_begins_alike(
    target: str, *, expected: bool
) -> None:
    """A prefix is a path, not a string."""
    with recorded_events():
        assert public(await ask(BY_PATH, target=target, origin=EVIL)) is expected
        assert public(await preflight(BY_PATH, EVIL, target=target)) is expected


@pytest.mark.parametrize(
    "target",
    [
        "//public/x",
        "/public//x",
        "/public/../private",
        "/public/%2e%2e/private",
        "/public/%2E%2e/private",
        "/public/.%2e/private",
        "/public/%252e%252e/private",
        "/public/./x",
        "/public%2fadmin",
        "/public/%2fadmin",
        "/public;/admin",
        "/public/..;/private",
        "/public\\admin",
        "/public/%5c..%5cadmin",
        "/public/ADMIN",
        "/public/Admin/x",
        "/PUBLIC/x",
        "/Feed",
        "/public/adm\u0131n",
        "/public/x%00",
        "/public/%20admin",
        "/private//../public",
    ],
)
@pytest.mark.parametrize("origin", [APP, EVIL])
async def test_a_path_with_two_readings_is_granted_nothing(target: str, origin: str) -> None:
    """What this layer reads as /public and the router as /admin must not be public, nor ours."""
    with recorded_events() as events:
        answer = await ask(BY_PATH, target=target, origin=origin)
        asked = await preflight(BY_PATH, origin, target=target)

    assert answer.grants == asked.grants == set()
    assert answer.values("vary") == ["Origin"]
    assert {event.reason for event in events} == {"ambiguous_path"}


PIECES = st.sampled_from(
    ["/", "//", ".", "..", "%2e", "%2f", "\\", ";", "+", "%20", "%25", "public", "PUBLIC", "admin"]
)


@settings(deadline=None)
@given(st.lists(PIECES, max_size=8).map("".join))
async def test_no_spelling_under_admin_is_ever_public(tail: str) -> None:
    """The attacker writes the target; the strict rule lies inside the loose one."""
    with recorded_events():
        for target in (f"/public/admin/{tail}", f"/public/admin{tail}"):
            answer = await ask(BY_PATH, target=target, origin=EVIL)
            if public(answer):
                for reading in readings(target):
                    assert reading != "/public/admin"
                    assert not reading.startswith("/public/admin/")


def readings(target: str) -> set[str]:
    """Return what routers, proxies and file systems make of *target*, in lower case."""
    found = set()
    for decode in (str, unquote, unquote_plus, lambda text: unquote(unquote(text))):
        path = decode(target).partition(";")[0].replace("\\", "/")
        found.add(posixpath.normpath("/" + path.lstrip("/")).lower())
    return found


def endpoint(request: Request) -> PlainTextResponse:
    return PlainTextResponse("general")


@cors_policy(OPEN)
def shared(request: Request) -> PlainTextResponse:
    return PlainTextResponse("shared")


@cors_policy(OPEN)
class Shared(HTTPEndpoint):
    async def get(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse("shared")


def boom(request: Request) -> PlainTextResponse:
    raise RuntimeError("boom")


def starlette_app() -> Starlette:
    return Starlette(
        routes=[
            Route("/special", endpoint),
            Route("/{name}", shared, methods=["GET"]),
            Route("/{name}", endpoint, methods=["PUT"]),
            Mount(
                "/sub",
                routes=[
                    Route("/shared", shared),
                    Mount("/deep", app=Router([Route("/c", Shared)])),
                ],
            ),
            Host("other.example", app=Router([Route("/h/h", shared)])),
        ]
    )


def fastapi_app() -> FastAPI:
    app = FastAPI(openapi_url=None)
    router = APIRouter()

    @app.get("/special")
    async def special() -> str:
        return "general"

    @router.get("/shared")
    @cors_policy(OPEN)
    async def in_router() -> str:
        return "shared"

    @app.get("/{name}")
    @cors_policy(OPEN)
    async def named(name: str) -> str:
        return "shared"

    @app.put("/{name}")
    async def put(name: str) -> str:
        return "general"

    app.include_router(router, prefix="/sub")
    return app


def outermost(app: Starlette) -> ASGIApp:
    return CORSAllowlistMiddleware(app, policy=STRICT)


def added(app: Starlette) -> ASGIApp:
    app.user_middleware.insert(0, Middleware(CORSAllowlistMiddleware, policy=STRICT))
    return app


def behind_a_function(app: Starlette) -> ASGIApp:
    async def opaque(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    return CORSAllowlistMiddleware(opaque, policy=STRICT, routes=app.routes)


@pytest.mark.parametrize("install", [outermost, added, behind_a_function])
@pytest.mark.parametrize("make", [starlette_app, fastapi_app])
@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/anything", True),
        ("GET", "/special", False),  # an earlier route serves it
        ("PUT", "/anything", False),  # another endpoint at the same path
        ("DELETE", "/anything", False),
        ("GET", "/sub/shared", True),
        ("GET", "/sub/missing", False),
        ("GET", "/a/b/c", False),
    ],
)
async def test_a_decorated_endpoint_is_found_by_the_routes_that_will_serve_it(
    make: Callable[[], Starlette],
    install: Callable[[Starlette], ASGIApp],
    method: str,
    target: str,
    *,
    expected: bool,
) -> None:
    """The preflight must be answered as the request itself will be."""
    app = install(make())
    with recorded_events():
        asked = await preflight(app, EVIL, method, target=target)
        answer = await ask(app, method, target, origin=EVIL)

    assert public(asked) is expected
    assert public(answer) is expected


async def test_class_based_and_mounted_endpoints_are_found_too() -> None:
    """Starlette has several shapes of endpoint; all may carry a policy."""
    app = outermost(starlette_app())
    for target in ("/sub/deep/c",):
        assert public(await ask(app, target=target, origin=EVIL))
        assert public(await preflight(app, EVIL, target=target))


async def test_general_endpoints_keep_the_general_policy() -> None:
    """A decorator elsewhere must not loosen, nor tighten, what has none."""
    app = outermost(starlette_app())
    answer = await ask(app, target="/special", origin=APP)
    assert answer.values("access-control-allow-origin") == [APP]
    assert answer.values("access-control-allow-credentials") == ["true"]


async def test_when_another_endpoint_served_than_was_found_nothing_is_granted() -> None:
    """A layer in between may rewrite the path: the marked policy was for somewhere else."""
    app = starlette_app()

    @cors_policy(CORSPolicy(allow_origins=["https://partner.example"]))
    def partner(request: Request) -> PlainTextResponse:
        return PlainTextResponse("partner")

    app.router.routes.insert(0, Route("/partner", partner))

    async def rewriting(scope: Any, receive: Any, send: Any) -> None:
        scope["path"] = "/partner"
        await app(scope, receive, send)

    rewritten = CORSAllowlistMiddleware(rewriting, policy=STRICT, routes=app.routes)

    answer = await ask(rewritten, target="/anything", origin=EVIL)

    assert answer.body == b"partner"
    assert answer.grants == set()


async def test_a_convertor_that_fails_closes_the_answer() -> None:
    """Path convertors are foreign code, run here before the app has a chance to answer."""

    class Broken(Route):
        def matches(self, scope: Any) -> Any:
            if scope["path"] == "/bad":
                raise ValueError(scope["path"])
            return super().matches(scope)

    app = CORSAllowlistMiddleware(hello, policy=STRICT, routes=[Broken("/x", shared)])
    with recorded_events() as events:
        assert (await preflight(app, APP, target="/bad")).grants == set()
        assert (await ask(app, target="/bad", origin=APP)).grants == set()
    assert {event.reason for event in events} == {"ambiguous_path"}


def test_an_unhandled_exception_in_a_decorated_endpoint_carries_its_policy() -> None:
    """The page that may read answers may read the status of a failure."""
    app = Starlette(routes=[Route("/boom", cors_policy(OPEN)(boom))])
    client = TestClient(outermost(app), raise_server_exceptions=False)
    answer = client.get("/boom", headers={"origin": EVIL})
    assert answer.status_code == 500
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("given_policy", [None, ["*"], CORSPolicy(routes={"/a": CORSPolicy()})])
def test_the_decorator_takes_a_policy_without_routes(given_policy: Any) -> None:
    """A list of origins in its place would be silently ignored."""
    with pytest.raises(ConfigError, match="cors_policy"):
        cors_policy(given_policy)
