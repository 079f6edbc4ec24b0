"""One app object that serves everybody must not carry one response's headers into the next."""

from __future__ import annotations

from typing import Any

from asgi_guard.security_headers import SecurityHeaders, SecurityHeadersMiddleware
from tests.support.headers_client import http_scope, request


def reusing_app() -> Any:
    """Return an app that sends the same message object each time, as cached responses do."""
    start = {
        "type": "http.response.start",
        "status": 200,
        "headers": [
            (b"set-cookie", b"a=1"),
            (b"set-cookie", b"b=2"),
            (b"x-frame-options", b"DENY"),
        ],
    }

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start)
        await send({"type": "http.response.body", "body": b""})

    return app


async def grows(guarded: Any) -> bool:
    """Tell whether the third answer differs from the first, or lost a cookie."""
    scopes = [http_scope(), http_scope(headers=[("authorization", "Basic x")]), http_scope()]
    answers = [await request(guarded, scope) for scope in scopes]
    cookies = [line for line in answers[2].lines if line[0] == "set-cookie"]
    return answers[0].lines != answers[2].lines or len(cookies) != 2


class _Careless:
    """Adds to the app's own list, as peers do."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def adding(message: Any) -> None:
            if "headers" in message:
                message["headers"].append((b"x-content-type-options", b"nosniff"))
                message = {**message, "headers": [*message["headers"]]}
            await send(message)

        await self.app(scope, receive, adding)


async def test_a_reused_message_gets_the_same_headers_each_time() -> None:
    """A ``no-store`` or a tenant's policy that sticks to a shared list reaches other users."""
    guarded = SecurityHeadersMiddleware(reusing_app(), policy=SecurityHeaders.html())

    assert not await grows(guarded)


async def test_the_check_sees_a_list_that_is_written_to() -> None:
    """Negative control: the usual way of adding headers fails it."""
    assert await grows(_Careless(reusing_app()))
