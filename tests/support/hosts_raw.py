"""A host without any framework, which lets every error through."""

from __future__ import annotations

from typing import Any

from asgi_guard.protocols import Receive, Scope, Send
from tests.support.hosts_pages import PAGES, Lives, refuse, who

__all__ = ["raw_app"]


def raw_app(lives: Lives) -> Any:
    """Build an app without any framework, which lets every error through."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send, lives)
        elif scope["type"] == "websocket":
            await receive()
            if scope["path"] == "/refusing":
                refuse()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": who()})
            await receive()
        else:
            await _http(scope, send)

    return app


async def _lifespan(receive: Receive, send: Send, lives: Lives) -> None:
    await receive()
    lives.append("started")
    await send({"type": "lifespan.startup.complete"})
    await receive()
    lives.append("stopped")
    await send({"type": "lifespan.shutdown.complete"})


async def _http(scope: Scope, send: Send) -> None:
    status, body = 404, "not found"
    if scope["path"] == "/only-post":
        status, body = (200, "posted") if scope["method"] == "POST" else (405, "POST only")
    elif scope["path"] in PAGES:
        status, body = 200, PAGES[scope["path"]]()
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body.encode()})
