"""A FastAPI host; its handlers are sync, so they run in the thread pool."""

from __future__ import annotations

from fastapi import FastAPI, WebSocket
from fastapi.responses import PlainTextResponse

from tests.support.hosts_pages import PAGES, Lives, lifespan, posted, refuse, who

__all__ = ["fastapi_app"]


def fastapi_app(lives: Lives) -> FastAPI:
    """Build the app."""
    app = FastAPI(lifespan=lifespan(lives))
    for path, fn in PAGES.items():
        app.get(path, response_class=PlainTextResponse)(fn)
    app.post("/only-post")(posted)

    @app.websocket("/socket")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(who())
        await websocket.receive()

    @app.websocket("/refusing")
    async def refusing(_websocket: WebSocket) -> None:
        refuse()

    return app
