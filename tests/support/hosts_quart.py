"""A Quart host."""

from __future__ import annotations

from collections.abc import Callable

from quart import Quart, websocket

from tests.support.hosts_pages import PAGES, Lives, posted, refuse, who

__all__ = ["quart_app"]


def quart_app(lives: Lives) -> Quart:
    """Build the app."""
    app = Quart("hosts")
    for path, fn in PAGES.items():
        _page(app, path, fn)
    _page(app, "/only-post", posted, methods=("POST",))

    @app.websocket("/socket")
    async def socket() -> None:
        await websocket.send(who())
        await websocket.receive()

    @app.websocket("/refusing")
    async def refusing() -> None:
        refuse()

    app.before_serving(lambda: lives.append("started"))
    app.after_serving(lambda: lives.append("stopped"))
    return app


def _page(
    app: Quart, path: str, fn: Callable[[], str], methods: tuple[str, ...] = ("GET",)
) -> None:
    async def view() -> str:
        return fn()

    app.add_url_rule(path, path, view, methods=list(methods))
