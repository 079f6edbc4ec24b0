"""A real uvicorn on loopback, in this process and loop, for what only a server does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn

from asgi_guard.protocols import ASGIApp

__all__ = ["exchange", "serving"]


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[int]:
    """Serve *app* for the length of the block; gives the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http="h11", ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    serving_task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(10):
            while not server.started:  # noqa: ASYNC110 - uvicorn offers a flag, no event
                await asyncio.sleep(0.005)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        async with asyncio.timeout(10):
            await serving_task
        listener.close()


async def exchange(port: int, requests: bytes, *, answers: int) -> list[str]:
    """Send *requests* in one write on one connection; return the bodies of the *answers*."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(requests)
        async with asyncio.timeout(10):
            return [await _body(reader) for _ in range(answers)]
    finally:
        writer.close()
        await writer.wait_closed()


async def _body(reader: asyncio.StreamReader) -> str:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    (length,) = [
        int(line.partition(":")[2])
        for line in head.split("\r\n")
        if line.startswith("content-length:")
    ]
    return (await reader.readexactly(length)).decode()
