"""Cross-site WebSocket hijacking: no same-origin policy stands between a page and a socket."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asgi_guard._internal.proxies import TrustedProxies
from asgi_guard.cross_origin import CrossOriginMiddleware, CrossOriginPolicy
from asgi_guard.origins import OriginPolicy
from tests.support.exchange import Events, handshake, websocket_scope

OWN = "https://app.example"
FRIEND = "https://friend.example"
FOREIGN = "https://evil.example"


async def chat(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


async def opened(app: Any, headers: Any, **scope: Any) -> bool:
    answer = await handshake(app, websocket_scope("/chat", headers, **scope))
    return bool(answer.sent[0]["type"] == "websocket.accept")


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([("origin", FOREIGN)], "origin_foreign"),
        ([("origin", "https://app.example.evil.example")], "origin_foreign"),
        ([("origin", "https://app.example:444")], "origin_foreign"),
        ([("origin", "null")], "origin_null"),
        ([("origin", "")], "origin_foreign"),
        ([("origin", OWN), ("origin", FOREIGN)], "origin_doubled"),
        ([("origin", OWN), ("origin", OWN)], "origin_doubled"),
        ([], "origin_missing"),
        ([("origin", FOREIGN), ("sec-fetch-site", "same-origin")], "origin_foreign"),
        ([("origin", FOREIGN), ("authorization", "Bearer t")], "origin_foreign"),
    ],
)
@pytest.mark.parametrize("denial", [True, False])
async def test_a_foreign_socket_is_refused_before_it_is_accepted(
    headers: list[tuple[str, str]], reason: str, events: Events, *, denial: bool
) -> None:
    """After accept the app would already have sent its greeting to the stranger."""
    guarded = CrossOriginMiddleware(chat)

    answer = await handshake(guarded, websocket_scope("/chat", headers, denial=denial))

    if denial:
        assert [message["type"] for message in answer.sent] == [
            "websocket.http.response.start",
            "websocket.http.response.body",
        ]
        assert answer.status == 403
        assert json.loads(answer.body)["code"] == "cross_origin_refused"
    else:
        assert answer.sent == [
            {"type": "websocket.close", "code": 1008, "reason": "cross_origin_refused"}
        ]
    assert events.reasons == [reason]
    assert events.seen[0].details["connection"] == "websocket"


async def test_the_same_socket_opens_without_the_middleware() -> None:
    """Control: the app alone accepts anybody, as every ASGI framework does."""
    assert await opened(chat, {"origin": FOREIGN})


@pytest.mark.parametrize(
    ("origin", "scheme"),
    [(OWN, "ws"), (OWN, "wss"), ("http://app.example", "ws")],
)
async def test_the_apps_own_page_needs_no_listing(origin: str, scheme: str) -> None:
    """Also behind a proxy that ends TLS, where the app itself sees ``ws``."""
    assert await opened(CrossOriginMiddleware(chat), {"origin": origin}, scheme=scheme)


async def test_a_page_over_http_may_not_open_the_secure_socket() -> None:
    """Whoever sits on the network writes http pages."""
    origin = {"origin": "http://app.example"}
    behind_tls = CrossOriginMiddleware(chat, proxies=TrustedProxies(["10.0.0.0/8"]))
    says_https = {**origin, "x-forwarded-proto": "https"}

    assert not await opened(CrossOriginMiddleware(chat), origin, scheme="wss")
    assert not await opened(behind_tls, says_https, client=("10.0.0.1", 1))
    assert await opened(behind_tls, says_https, client=("203.0.113.9", 1))


async def test_a_listed_friend_may_connect() -> None:
    """The same list that CORS uses."""
    guarded = CrossOriginMiddleware(chat, origins=OriginPolicy([FRIEND]))

    assert await opened(guarded, {"origin": FRIEND})
    assert not await opened(guarded, {"origin": FOREIGN})


async def test_a_native_client_connects_by_setting() -> None:
    """Browsers always send an Origin, so its absence is no attack; still, it is asked for."""
    policy = CrossOriginPolicy(allow_websocket_without_origin=True)
    guarded = CrossOriginMiddleware(chat, policy=policy)

    assert await opened(guarded, {})
    assert not await opened(guarded, {"origin": "null"})


async def test_an_exempt_path_is_open_to_all() -> None:
    """A public ticker says so by path, and by no other spelling of it."""
    policy = CrossOriginPolicy(exempt=["/chat"])
    guarded = CrossOriginMiddleware(chat, policy=policy)

    assert await opened(guarded, {"origin": FOREIGN})
    answer = await handshake(guarded, websocket_scope("//chat", {"origin": FOREIGN}))
    assert answer.status == 403


async def test_messages_of_an_open_socket_cost_nothing() -> None:
    """The app is handed the server's own receive and send."""
    given: list[Any] = []

    async def look(scope: Any, receive: Any, send: Any) -> None:
        given.extend((receive, send))

    async def receive() -> Any: ...

    async def send(message: Any) -> None: ...

    await CrossOriginMiddleware(look)(websocket_scope("/", {"origin": OWN}), receive, send)

    assert given == [receive, send]
