"""The apps that browser tests visit: a bank worth attacking, and plain pages for everybody else."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from asgi_guard.protocols import ASGIApp

__all__ = ["Bank", "page_of", "sign_in", "without_vary"]


async def sign_in(visitor: Any, *hosts: str) -> None:
    """Give the visitor the cookie that makes it worth forging: sent along across sites too."""
    session = {"name": "session", "value": "alice", "path": "/", "httpOnly": True}
    await visitor.add_cookies(
        [{**session, "domain": host, "secure": True, "sameSite": "None"} for host in hosts]
    )


def page_of(html: str, **headers: str) -> Starlette:
    """Return a site that shows one page, whatever its path."""

    async def show(request: Request) -> Response:
        return HTMLResponse(f"<!doctype html><title>page</title>{html}", headers=headers)

    return Starlette(routes=[Route("/{path:path}", show)])


class Bank:
    """Counts what was done in a visitor's name."""

    def __init__(self) -> None:
        self.origin = ""
        self.transfers: list[str] = []
        self.reads = 0

    @property
    def socket(self) -> str:
        """Address of the chat."""
        return self.origin.replace("http", "ws", 1) + "/chat"

    def app(self) -> Starlette:
        """Return the bank itself, without any protection."""
        return Starlette(
            routes=[
                Route("/", self._home),
                Route("/transfer", self._transfer, methods=["POST"]),
                Route("/balance.js", self._balance),
                Route("/form", self._form),
                WebSocketRoute("/chat", self._chat),
            ]
        )

    async def _home(self, request: Request) -> Response:
        return HTMLResponse("<!doctype html><title>bank</title><h1>Your bank</h1>")

    async def _form(self, request: Request) -> Response:
        referrer = request.query_params["referrer"]
        return HTMLResponse(
            f"<!doctype html><meta name=referrer content={referrer}>"
            "<form method=post action=/transfer><button>go</button></form>"
        )

    async def _transfer(self, request: Request) -> Response:
        self.transfers.append(request.cookies.get("session", "nobody"))
        return JSONResponse({"done": True})

    async def _balance(self, request: Request) -> Response:
        self.reads += 1
        return Response(
            "window.balance = 1000",
            media_type="text/javascript",
            headers={"cache-control": "private, max-age=600"},
        )

    async def _chat(self, socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(f"hello {socket.cookies.get('session', 'nobody')}")
        await socket.close()


def without_vary(app: ASGIApp) -> ASGIApp:
    """Break *app* on purpose: the control for what Vary is there to stop."""

    async def stripped(scope: Any, receive: Any, send: Any) -> None:
        async def careless(message: Any) -> None:
            kept = [pair for pair in message.get("headers", ()) if pair[0] != b"vary"]
            await send({**message, "headers": kept} if "headers" in message else message)

        await app(scope, receive, careless)

    return stripped
