"""SecurityHeadersMiddleware on real ASGI apps."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from asgi_guard.errors import ConfigError
from asgi_guard.security_headers import (
    SecurityHeaders,
    SecurityHeadersMiddleware,
    security_headers,
)
from tests.support.headers_client import http_scope, plain_app, request

HTML = SecurityHeaders.html()
API = SecurityHeaders.api()
LAX = HTML.replace(content_security_policy=None, x_frame_options="SAMEORIGIN")


async def broken(request: Request) -> Any:
    raise RuntimeError("a bug")


async def hello(request: Request) -> Any:
    return PlainTextResponse("hello")


def starlette_app(**options: Any) -> Starlette:
    return Starlette(routes=[Route("/", hello), Route("/broken", broken)], **options)


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/", "GET", 200), ("/nowhere", "GET", 404), ("/", "PUT", 405), ("/broken", "GET", 500)],
)
@pytest.mark.parametrize("outermost", [True, False])
async def test_errors_carry_the_headers_as_pages_do(
    path: str, method: str, status: int, *, outermost: bool
) -> None:
    """An error page is a page: without a policy it is the place to inject a script into."""
    app = starlette_app()
    if outermost:
        guarded: Any = SecurityHeadersMiddleware(app, policy=HTML)
    else:
        app.add_middleware(SecurityHeadersMiddleware, policy=HTML)
        guarded = app

    answer = await request(guarded, http_scope(path, method=method))

    assert answer.status == status
    assert "content-security-policy" in answer.headers
    assert answer.headers["x-frame-options"] == "DENY"
    assert isinstance(answer.error, RuntimeError) is (status == 500)  # servers still log it


async def test_an_app_that_raises_without_an_error_layer_is_answered_here() -> None:
    """The server's own 500 would go out bare."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("secret detail")

    answer = await request(SecurityHeadersMiddleware(app, policy=API))

    assert answer.status == 500
    assert b"secret" not in answer.body
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert str(answer.error) == "secret detail"


@pytest.mark.parametrize("options", [{"debug": True}, {"exception_handlers": {Exception: broken}}])
async def test_an_apps_own_answer_to_exceptions_is_left_to_it(options: dict[str, Any]) -> None:
    """A debug page or an error tracker's handler must not be shadowed."""
    app = starlette_app(**options)
    app.add_middleware(SecurityHeadersMiddleware, policy=HTML)

    answer = await request(app, http_scope("/broken"))

    bodies = [each for each in answer.messages if each["type"] == "http.response.body"]
    assert not any(b"internal_error" in each["body"] for each in bodies)


async def test_a_response_that_broke_half_way_is_not_answered_twice() -> None:
    """A second start would be a protocol error, and hides the first."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("late")

    answer = await request(SecurityHeadersMiddleware(app, policy=HTML))

    assert len(answer.messages) == 1
    assert str(answer.error) == "late"


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_other_connections_get_the_servers_own_send(kind: str) -> None:
    """A wrapper here would cost each WebSocket message and serve nothing."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend((scope, receive, send))

    scope: Any = {"type": kind}

    async def receive() -> Any: ...
    async def send(message: Any) -> None: ...

    await SecurityHeadersMiddleware(app, policy=HTML)(scope, receive, send)

    assert seen == [{"type": kind}, receive, send]
    assert seen[0] is scope


@pytest.mark.parametrize(
    "message",
    [
        {"type": "http.response.body", "body": b"x", "more_body": True},
        {"type": "http.response.pathsend", "path": "/some/file"},
        {"type": "http.response.zerocopysend", "file": 7},
        {"type": "http.response.trailers", "headers": [(b"X-T", b"1")]},
        {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]},
        {"type": "http.response.debug", "info": {"template": "x"}},
        {"type": "http.response.push", "path": "/", "headers": []},
    ],
)
async def test_every_other_message_is_passed_on_as_the_same_object(message: Any) -> None:
    """Streaming and server extensions must work as if nothing stood between."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["extensions"] is extensions
        await send(message)

    extensions = {"http.response.pathsend": {}}
    answer = await request(
        SecurityHeadersMiddleware(app, policy=HTML), http_scope(extensions=extensions)
    )

    assert answer.error is None
    assert answer.messages[0] is message


async def test_a_stream_is_passed_on_chunk_by_chunk() -> None:
    """Server-sent events that arrive at the end are of no use."""
    order: list[str] = []

    async def chunks() -> Any:
        for number in range(3):
            order.append(f"made {number}")
            yield b"x"

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def noting_send(message: Any) -> None:
            if message.get("body"):
                order.append("sent")

        await SecurityHeadersMiddleware(StreamingResponse(chunks()), policy=HTML)(
            scope, receive, noting_send
        )

    # The client stays connected, so that the response is not cut short.
    await request(app, http_scope(asgi={"version": "3.0", "spec_version": "2.4"}))

    assert order == ["made 0", "sent", "made 1", "sent", "made 2", "sent"]


async def test_the_apps_own_message_list_and_cookies_stay_as_they_are() -> None:
    """An app may send the same object twice; peers pile up headers in it or lose a cookie."""
    lines = [(b"Set-Cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"X-Own", b"y")]
    start = {"type": "http.response.start", "status": 200, "headers": lines, "trailers": True}
    before = [*lines]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start)
        await send({"type": "http.response.body"})

    guarded = SecurityHeadersMiddleware(app, policy=HTML)
    first, second = await request(guarded), await request(guarded)

    assert start["headers"] is lines
    assert lines == before
    assert first.lines == second.lines
    assert [each for each in first.lines if each[0] == "set-cookie"] == [
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
    ]
    assert all(name == name.lower() for name, _ in first.lines)
    assert first.start["trailers"] is True


async def test_headers_may_come_as_any_iterable_or_not_at_all() -> None:
    """ASGI asks for an iterable and lets it be left out."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = ((b"x-n", b"%d" % number) for number in range(2))
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204})

    full = await request(SecurityHeadersMiddleware(app, policy=API))
    empty = await request(SecurityHeadersMiddleware(bare, policy=API))

    assert [each for each in full.lines if each[0] == "x-n"] == [("x-n", "0"), ("x-n", "1")]
    assert empty.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "options",
    [
        {"policy": "html"},
        {"policy": None},
        {"policy": HTML, "environment": ""},
        {"policy": HTML, "trusted_proxies": "10.0.0.1"},
        {"policy": HTML, "trusted_proxies": ["*"]},
        {"policy": HTML, "routes": {"docs": LAX}},
        {"policy": HTML, "routes": {"/docs": "lax"}},
        {"policy": HTML, "tenants": {"acme": "lax"}},
        {"policy": HTML, "tenants": ["acme"]},
    ],
)
def test_a_wrong_argument_stops_the_app_from_starting(options: Any) -> None:
    """An app without its headers looks healthy."""
    with pytest.raises(ConfigError):
        SecurityHeadersMiddleware(plain_app(), **options)
    with pytest.raises(ConfigError):
        security_headers("lax")  # type: ignore[arg-type] # the mistake under test
