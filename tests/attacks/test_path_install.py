"""An install that guards less than the whole app is worse than none: it is believed."""

from __future__ import annotations

from asgi_guard.protocols import ASGIApp, Receive, Scope, Send
from asgi_guard.stack import Guard
from tests.support.hosts_client import get, is_protected
from tests.support.hosts_guard import guard_settings
from tests.support.hosts_raw import raw_app


class Dispatcher:
    """Answers some paths itself and hands the rest on, under the attribute that Quart uses too."""

    def __init__(self, asgi_app: ASGIApp) -> None:
        self.asgi_app = asgi_app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve ``/rpc`` here, whatever has become of the app behind."""
        if scope["type"] == "http" and scope["path"] == "/rpc":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"rows"})
            return
        await self.asgi_app(scope, receive, send)


async def test_an_app_that_only_looks_like_quart_is_guarded_as_a_whole() -> None:
    """Putting the layers around its ``asgi_app`` would leave open what it answers by itself."""
    app = Guard(guard_settings()).install(Dispatcher(raw_app([])))

    answer = await get(app, "/rpc")

    assert answer.status == 401
    assert is_protected(answer)
