"""A Starlette host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from tests.support.hosts_pages import PAGES, Lives, lifespan, posted, refuse, who

__all__ = ["starlette_app"]


def starlette_app(lives: Lives, **options: Any) -> Starlette:
    """Build the app."""
    routes: list[Any] = [Route(path, _page(fn)) for path, fn in PAGES.items()]
    routes.append(Route("/only-post", _page(posted), methods=["POST"]))
    routes.append(WebSocketRoute("/socket", _socket))
    routes.append(WebSocketRoute("/refusing", _refusing))
    return Starlette(routes=routes, lifespan=lifespan(lives), **options)


def _page(fn: Callable[[], str]) -> Any:
    async def endpoint(_request: Request) -> PlainTextResponse:
        return PlainTextResponse(fn())

    return endpoint


async def _socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(who())
    await websocket.receive()


async def _refusing(_websocket: WebSocket) -> None:
    refuse()
