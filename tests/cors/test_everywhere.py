"""Grants are on every answer, and nothing but answers is touched."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient

from asgi_guard._internal.responses import send_problem
from asgi_guard.cors import CORSAllowlistMiddleware, CORSPolicy
from asgi_guard.errors import TenantAccessError, UnavailableError
from asgi_guard.protocols import ASGIApp
from tests.support.cors_client import hello, http_scope

APP = "https://app.example.com"
POLICY = CORSPolicy(allow_origins=[APP], allow_credentials=True)


def fastapi_app() -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.get("/boom")
    async def boom() -> None:
        raise RuntimeError("secret")

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418)

    @app.post("/typed")
    async def typed(number: int) -> int:
        return number

    @app.get("/late")
    async def late() -> StreamingResponse:
        def body() -> Any:
            yield b"first"
            raise RuntimeError("after the start")

        return StreamingResponse(body())

    async def refused(scope: Any, receive: Any, send: Any) -> None:
        await send_problem(scope, receive, send, TenantAccessError())

    async def closed(scope: Any, receive: Any, send: Any) -> None:
        await send_problem(scope, receive, send, UnavailableError())

    app.mount("/refused", refused)
    app.mount("/closed", closed)
    return app


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/boom", 500),
        ("GET", "/teapot", 418),
        ("GET", "/missing", 404),
        ("DELETE", "/boom", 405),
        ("POST", "/typed", 422),
        ("GET", "/refused/x", 404),
        ("GET", "/closed/x", 503),
    ],
)
def test_a_page_can_read_the_status_of_every_failure(method: str, path: str, status: int) -> None:
    """Without the grant a browser shows a CORS error, and the real one is lost."""
    app = CORSAllowlistMiddleware(fastapi_app(), policy=POLICY)
    client = TestClient(app, raise_server_exceptions=False)

    answer = client.request(method, path, headers={"origin": APP})

    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["vary"] == "Origin"


def test_installed_inside_the_error_layer_the_status_of_a_500_is_lost() -> None:
    """Control: why this middleware is put outermost, and what ``add_middleware`` does to it."""
    app = fastapi_app()
    app.add_middleware(CORSAllowlistMiddleware, policy=POLICY)
    client = TestClient(app, raise_server_exceptions=False)

    answer = client.get("/boom", headers={"origin": APP})

    assert answer.status_code == 500
    assert "access-control-allow-origin" not in answer.headers


def test_an_exception_after_the_start_reaches_the_server_as_before() -> None:
    """Hiding it would turn a cut-off answer into a complete one."""
    app = CORSAllowlistMiddleware(fastapi_app(), policy=POLICY)
    with pytest.raises(RuntimeError, match="after the start"):
        TestClient(app).get("/late", headers={"origin": APP})


class Probe:
    """An app that keeps what it is called with."""

    def __init__(self) -> None:
        self.called: tuple[Any, Any, Any] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.called = (scope, receive, send)


@pytest.mark.parametrize("kind", ["websocket", "lifespan", "something-new"])
async def test_other_scopes_get_the_very_same_objects(kind: str) -> None:
    """No wrapper, so not a nanosecond per message."""
    probe = Probe()
    scope = {"type": kind, "headers": [(b"origin", b"https://evil.example")], "path": "/"}

    async def receive() -> Any: ...

    async def send(message: Any) -> None: ...

    await CORSAllowlistMiddleware(probe, policy=POLICY)(scope, receive, send)

    assert probe.called is not None
    for given, passed in zip((scope, receive, send), probe.called, strict=True):
        assert passed is given


async def test_every_message_but_the_start_passes_as_the_same_object() -> None:
    """Zero-copy sends, early hints, trailers and debug messages are the server's business."""
    messages: list[dict[str, Any]] = [
        {"type": "http.response.debug", "info": {}},
        {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]},
        {"type": "http.response.start", "status": 200, "headers": [], "trailers": True},
        {"type": "http.response.pathsend", "path": "/tmp/x"},  # noqa: S108 - never opened
        {"type": "http.response.zerocopysend", "file": 3},
        {"type": "http.response.body", "body": b"x", "more_body": True},
        {"type": "http.response.push", "path": "/a", "headers": []},
        {"type": "http.response.trailers", "headers": []},
    ]
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    async def send(message: Any) -> None:
        seen.append(message)

    async def receive() -> Any: ...

    scope = http_scope("GET", "/", [(b"origin", APP.encode())])
    extensions = scope["extensions"] = {"http.response.pathsend": {}}
    await CORSAllowlistMiddleware(app, policy=POLICY)(scope, receive, send)

    changed = [s for s, m in zip(seen, messages, strict=True) if s is not m]
    assert [message["type"] for message in changed] == ["http.response.start"]
    assert changed[0]["trailers"] is True
    assert messages[2]["headers"] == []  # the app's own list is as it was
    assert scope["extensions"] is extensions


async def test_a_start_without_headers_is_completed() -> None:
    """The field is optional in ASGI."""

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204})

    seen: list[Any] = []

    async def send(message: Any) -> None:
        seen.append(message)

    async def receive() -> Any: ...

    scope = http_scope("GET", "/", [(b"origin", APP.encode())])
    await CORSAllowlistMiddleware(bare, policy=POLICY)(scope, receive, send)
    assert (b"access-control-allow-origin", APP.encode()) in seen[0]["headers"]


@pytest.mark.parametrize("upper", [False, True])
async def test_headers_may_be_any_iterable(*, upper: bool) -> None:
    """ASGI promises an iterable of pairs, not a list of tuples in lower case."""
    name = b"Content-Type" if upper else b"content-type"

    async def lazy(scope: Any, receive: Any, send: Any) -> None:
        headers = ([name, value] for value in (b"text/plain",))
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    seen: list[Any] = []

    async def send(message: Any) -> None:
        seen.append(message)

    async def receive() -> Any: ...

    scope = http_scope("GET", "/", [(b"origin", APP.encode())])
    await CORSAllowlistMiddleware(lazy, policy=POLICY)(scope, receive, send)
    assert dict(seen[0]["headers"]) == {
        b"content-type": b"text/plain",
        b"vary": b"Origin",
        b"access-control-allow-origin": APP.encode(),
        b"access-control-allow-credentials": b"true",
    }


def websocket_app() -> ASGIApp:
    async def echo(websocket: Any) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
        await websocket.close()

    def home(request: Any) -> PlainTextResponse:
        return PlainTextResponse("home")

    routes = [WebSocketRoute("/ws", echo), Mount("/", routes=[Route("/", home)])]
    return CORSAllowlistMiddleware(Starlette(routes=routes), policy=POLICY)


def test_a_websocket_works_through_it() -> None:
    """Its Origin is the cross-origin middleware's to judge, with the same policy object."""
    with TestClient(websocket_app()) as client, client.websocket_connect("/ws") as socket:
        socket.send_text("hi")
        assert socket.receive_text() == "hi"


async def test_concurrent_requests_get_their_own_grants() -> None:
    """The edit of one answer must not be seen by another."""
    pages = [f"https://p{n}.example" for n in range(100)]
    policy = CORSPolicy(allow_origins=pages, allow_credentials=True)
    barrier = asyncio.Barrier(len(pages))

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await barrier.wait()
        await hello(scope, receive, send)

    app = CORSAllowlistMiddleware(slow, policy=policy)

    async def one(page: str) -> list[bytes]:
        seen: list[Any] = []

        async def send(message: Any) -> None:
            seen.append(message)

        async def receive() -> Any: ...

        await app(http_scope("GET", "/", [(b"origin", page.encode())]), receive, send)
        return [v for k, v in seen[0]["headers"] if k == b"access-control-allow-origin"]

    answers = await asyncio.gather(*map(one, pages))
    assert answers == [[page.encode()] for page in pages]
