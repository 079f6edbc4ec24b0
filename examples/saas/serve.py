"""Start everything the demo needs, serve it, and leave nothing behind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from rich.console import Console

from asgi_guard.errors import ConfigError
from asgi_guard.testing import EmbeddedPostgres

from .app import create_app
from .database import prepare
from .tour import take_tour

HOST = "127.0.0.1"


def run(*, once: bool = False, port: int = 8000, console: Console | None = None) -> bool:
    """Serve the demo until Ctrl-C; or take the tour once and tell whether everything held.

    Args:
        once: Take the tour over HTTP, print its table and stop.
        port: TCP port on the loopback address; with *once*, 0 takes a free one.
        console: Where to print.

    Raises:
        ConfigError: The port is taken.
        MissingExtraError: The embedded PostgreSQL is not installed.
    """
    console = console or Console()
    with _listen(0 if once else port) as listener:
        console.print("Starting PostgreSQL, making roles, tables and policies ...")
        with EmbeddedPostgres() as postgres:
            database = postgres.create_database("saas_demo")
            return asyncio.run(_serve(database.dsn(), listener, once=once, console=console))


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            "demo.port",
            f"{port} cannot be listened on: {error.strerror}",
            "Try make demo PORT=8001.",
        ) from error
    return listener


async def _serve(dsn: str, listener: socket.socket, *, once: bool, console: Console) -> bool:
    url = f"http://{HOST}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        create_app(await prepare(dsn)),
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=3,  # seconds; open WebSockets would hold it for ever
    )
    server = uvicorn.Server(config)
    if not once:
        console.print(f"\n  Open [bold]{url}[/bold] in a browser. Ctrl-C stops everything.\n")
        await _run_server(server, listener)
        return True
    async with _running(server, listener):
        return await take_tour(url, console)


@asynccontextmanager
async def _running(server: uvicorn.Server, listener: socket.socket) -> AsyncIterator[None]:
    serving = asyncio.create_task(_run_server(server, listener))
    try:
        while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(0.02)
        if not serving.done():
            yield
    finally:
        server.should_exit = True
        await serving


async def _run_server(server: uvicorn.Server, listener: socket.socket) -> None:
    try:
        await server.serve(sockets=[listener])
    except SystemExit:  # how uvicorn says that start-up failed; it has printed why
        raise ConfigError("demo", "the app refused to start", "Read the lines above.") from None
