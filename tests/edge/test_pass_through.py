"""Every middleware passes through untouched what is not its own.

One table for all of them: what a server and an app agreed on between themselves (a file sent by
path, trailers, early hints, a stream that never ends) must survive each layer in between, the
same object and at the same moment.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from asgi_guard.protocols import ASGIApp
from tests.edge.middlewares import MIDDLEWARES
from tests.support.exchange import http_scope, websocket_scope

Wrap = Callable[[ASGIApp], ASGIApp]
App = Callable[[Any, Any, Any], Awaitable[None]]

EXTENSIONS: dict[str, Any] = {
    "http.response.pathsend": {},
    "http.response.zerocopysend": {},
    "http.response.trailers": {},
    "http.response.early_hint": {},
    "http.response.push": {},
    "http.response.debug": {},
    "websocket.http.response": {},
    "tls": {"tls_version": 772, "client_cert_chain": ()},
    "vendor.own": {"deep": [1]},
}

START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")],
}
PARTS: dict[str, list[dict[str, Any]]] = {
    "streaming": [
        {"type": "http.response.body", "body": b"one", "more_body": True},
        {"type": "http.response.body", "body": b"", "more_body": True},
        {"type": "http.response.body", "body": b"two", "more_body": False},
    ],
    "server-sent events": [
        {"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True},
        {"type": "http.response.body", "body": b": ping\n\n", "more_body": True},
    ],
    "pathsend": [{"type": "http.response.pathsend", "path": "/srv/big.iso"}],
    "zero copy": [
        {"type": "http.response.zerocopysend", "file": 7, "offset": 3, "count": 9},
        {"type": "http.response.body", "body": b"", "more_body": False},
    ],
    "trailers": [
        {"type": "http.response.body", "body": b"x", "more_body": False},
        {
            "type": "http.response.trailers",
            "headers": [(b"Server-Timing", b"db;dur=1")],
            "more_trailers": False,
        },
    ],
    "push": [
        {"type": "http.response.push", "path": "/style.css", "headers": []},
        {"type": "http.response.body", "body": b""},
    ],
}
BEFORE_START: dict[str, dict[str, Any]] = {
    "early hints": {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]},
    "debug": {"type": "http.response.debug", "info": {"template": "t", "context": {"x": 1}}},
    "unknown": {"type": "http.vendor.message", "payload": object()},
}


@pytest.fixture(params=sorted(MIDDLEWARES))
def wrap(request: pytest.FixtureRequest) -> Wrap:
    return MIDDLEWARES[request.param]


@pytest.fixture
def scope() -> dict[str, Any]:
    return {**http_scope(), "extensions": copy.deepcopy(EXTENSIONS)}


async def nothing() -> Any:
    raise AssertionError("nobody asked for a message")


def player(messages: list[dict[str, Any]], wire: list[Any]) -> App:
    """Return an app that sends *messages*, and sees each on the wire before the next."""

    async def play(scope: Any, receive: Any, send: Any) -> None:
        for number, message in enumerate(messages, start=1):
            await send(message)
            assert len(wire) == number, "a message was held back or multiplied"

    return play


@pytest.mark.parametrize("kind", sorted(PARTS))
async def test_what_follows_the_start_reaches_the_server_as_the_same_object(
    wrap: Wrap, scope: dict[str, Any], kind: str
) -> None:
    """A copy would break a file descriptor's owner; a delay would break an event stream."""
    wire: list[Any] = []
    start = {**START, "trailers": kind == "trailers"}
    play = player([start, *PARTS[kind]], wire)

    await wrap(play)(scope, nothing, recorder(wire))

    assert wire[0]["trailers"] is (kind == "trailers")
    assert_same_objects(wire[1:], PARTS[kind])


@pytest.mark.parametrize("kind", sorted(BEFORE_START))
async def test_what_precedes_the_start_reaches_the_server_as_the_same_object(
    wrap: Wrap, scope: dict[str, Any], kind: str
) -> None:
    """Early hints are worth nothing unless they are early."""
    wire: list[Any] = []
    early = BEFORE_START[kind]

    await wrap(player([early, START, *PARTS["streaming"]], wire))(scope, nothing, recorder(wire))

    assert wire[0] is early
    assert wire[1]["type"] == "http.response.start"


async def test_the_apps_own_objects_are_never_edited(wrap: Wrap, scope: dict[str, Any]) -> None:
    """An app may send one prebuilt start for every request; edits would pile up in it."""
    start = copy.deepcopy(START)
    lengths = []

    for _ in range(3):
        wire: list[Any] = []
        await wrap(player([start, *PARTS["streaming"]], wire))(dict(scope), nothing, recorder(wire))
        lengths.append(len(wire[0]["headers"]))

    assert start == START
    assert len(set(lengths)) == 1


async def test_cookies_and_order_of_the_apps_headers_survive(
    wrap: Wrap, scope: dict[str, Any]
) -> None:
    """Two set-cookie lines are two cookies; a layer that builds a dictionary loses one."""
    wire: list[Any] = []

    await wrap(player([START, *PARTS["streaming"]], wire))(scope, nothing, recorder(wire))

    kept = [pair for pair in wire[0]["headers"] if pair in START["headers"]]
    assert kept == START["headers"]


async def test_the_app_sees_every_extension_as_offered(wrap: Wrap, scope: dict[str, Any]) -> None:
    """A layer that hides an extension makes files slow; one that invents one breaks the app."""
    offered: list[Any] = []

    async def look(scope: Any, receive: Any, send: Any) -> None:
        offered.append(scope["extensions"])

    await wrap(look)(scope, nothing, nothing_sent)

    assert offered == [EXTENSIONS]


async def test_a_request_body_arrives_piece_by_piece(wrap: Wrap, scope: dict[str, Any]) -> None:
    """An upload must not be gathered in memory on its way to the app."""
    pieces = [
        {"type": "http.request", "body": b"a", "more_body": True},
        {"type": "http.request", "body": b"b", "more_body": False},
        {"type": "http.disconnect"},
    ]
    waiting = iter(pieces)
    got: list[Any] = []

    async def read(scope: Any, receive: Any, send: Any) -> None:
        for number in range(1, 4):
            got.append(await receive())
            assert len(got) == number

    async def receive() -> Any:
        return next(waiting)

    await wrap(read)(scope, receive, nothing_sent)

    assert_same_objects(got, pieces)


async def test_lifespan_is_the_servers_and_the_apps_affair(wrap: Wrap) -> None:
    """State that start-up puts into the scope must be the very object the server hands out."""
    given: list[Any] = []

    async def look(scope: Any, receive: Any, send: Any) -> None:
        given.extend((scope, receive, send))

    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    await wrap(look)(scope, nothing, nothing_sent)

    assert_same_objects(given, [scope, nothing, nothing_sent])


async def test_messages_of_an_accepted_socket_pass_as_the_same_objects(wrap: Wrap) -> None:
    """A chat sends thousands of messages; none of them is any layer's business."""
    incoming: list[Any] = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": "hello"},
        {"type": "websocket.disconnect", "code": 1000},
    ]
    outgoing: list[Any] = [
        {"type": "websocket.accept", "subprotocol": "v1", "headers": [(b"x-own", b"1")]},
        {"type": "websocket.send", "bytes": b"hello"},
        {"type": "websocket.close", "code": 1000, "reason": ""},
    ]
    waiting: Iterator[Any] = iter(incoming)
    got: list[Any] = []
    wire: list[Any] = []

    async def chat(scope: Any, receive: Any, send: Any) -> None:
        for message in outgoing:
            got.append(await receive())
            await send(message)

    async def receive() -> Any:
        return next(waiting)

    await wrap(chat)(
        websocket_scope(headers={"origin": "https://app.example"}), receive, recorder(wire)
    )

    assert_same_objects(got, incoming)
    assert_same_objects(wire, outgoing)


async def test_an_unknown_kind_of_connection_is_passed_on(wrap: Wrap) -> None:
    """A server may speak what this package has not heard of."""
    given: list[Any] = []

    async def look(scope: Any, receive: Any, send: Any) -> None:
        given.append(scope)

    scope = {"type": "vendor.tunnel", "headers": []}
    await wrap(look)(scope, nothing, nothing_sent)

    assert given == [scope]


class BoomError(Exception):
    """An app's own failure."""


@pytest.mark.parametrize("failure", [BoomError("x"), asyncio.CancelledError()])
async def test_the_apps_own_failure_comes_out_as_it_was_raised(
    wrap: Wrap, scope: dict[str, Any], failure: BaseException
) -> None:
    """Error trackers, servers and cancellation all rely on the exception itself."""

    async def fail(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        raise failure

    with pytest.raises(type(failure)) as caught:
        await wrap(fail)(scope, nothing, nothing_sent)

    assert caught.value is failure


@pytest.mark.parametrize(
    "careless",
    ["copies", "buffers", "edits"],
)
async def test_the_table_finds_a_careless_layer_out(scope: dict[str, Any], careless: str) -> None:
    """Control: a layer that copies, buffers or edits fails these very tests."""

    def wrapped(app: ASGIApp) -> ASGIApp:
        async def layer(scope: Any, receive: Any, send: Any) -> None:
            held: list[Any] = []

            async def bad_send(message: Any) -> None:
                if careless == "buffers":
                    held.append(message)
                elif careless == "copies":
                    await send(dict(message))
                else:
                    message.setdefault("headers", []).append((b"x", b"y"))
                    await send(message)

            await app(scope, receive, bad_send)
            for message in held:
                await send(message)

        return layer

    check = {
        "edits": lambda: test_the_apps_own_objects_are_never_edited(wrapped, scope),
        "copies": lambda: test_what_follows_the_start_reaches_the_server_as_the_same_object(
            wrapped, scope, "streaming"
        ),
        "buffers": lambda: test_what_follows_the_start_reaches_the_server_as_the_same_object(
            wrapped, scope, "server-sent events"
        ),
    }[careless]

    with pytest.raises(AssertionError):
        await check()


def recorder(wire: list[Any]) -> Any:
    async def send(message: Any) -> None:
        wire.append(message)

    return send


async def nothing_sent(message: Any) -> None:
    """Take what the app sends and forget it."""


def assert_same_objects(got: list[Any], expected: list[Any]) -> None:
    assert len(got) == len(expected)
    for mine, theirs in zip(got, expected, strict=True):
        assert mine is theirs
