"""A Litestar host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from litestar import Litestar, get, post, websocket
from litestar.connection import WebSocket

from tests.support.hosts_pages import PAGES, Lives, lifespan, refuse, who

__all__ = ["litestar_app"]


def litestar_app(lives: Lives) -> Litestar:
    """Build the app."""
    return Litestar(
        [*(_page(path, fn) for path, fn in PAGES.items()), _posted, _socket, _refusing],
        lifespan=[lifespan(lives)],
        openapi_config=None,
        logging_config=None,
    )


def _page(path: str, fn: Callable[[], str]) -> Any:
    @get(path, media_type="text/plain")
    async def handler() -> str:
        return fn()

    return handler


@post("/only-post")
async def _posted() -> str:
    return "posted"


@websocket("/socket")
async def _socket(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    await socket.send_text(who())
    await socket.receive()


@websocket("/refusing")
async def _refusing(socket: WebSocket[Any, Any, Any]) -> None:
    refuse()
