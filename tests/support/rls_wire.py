"""A TCP proxy in front of PostgreSQL that counts what a client waits for.

A round trip of the PostgreSQL protocol (manual, chapter 54) is a simple Query or a Sync: the
server answers each with ReadyForQuery, and a driver that does not pipeline waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

__all__ = ["Wire", "wire"]

_SSL_REQUEST = 80877103
_CANCEL_REQUEST = 80877102


class Wire:
    """A running proxy.

    ``sent`` counts client messages by type: ``Q`` simple queries, ``S`` Syncs, ``P`` Parses ...
    """

    def __init__(self, dsn: str) -> None:
        parts = urlsplit(dsn)
        self._target = (parts.hostname, parts.port)
        self._parts = parts
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.sent: Counter[str] = Counter()
        self.texts: list[str] = []

    @property
    def dsn(self) -> str:
        """The DSN given, through the proxy."""
        login, _, _ = self._parts.netloc.rpartition("@")
        return self._parts._replace(netloc=f"{login}@127.0.0.1:{self.port}").geturl()

    @property
    def round_trips(self) -> int:
        """How often the client waited for the server since `reset`."""
        return self.sent["Q"] + self.sent["S"]

    def reset(self) -> None:
        """Count from nought."""
        self.sent.clear()
        self.texts.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one client's bytes both ways."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        to_server = None
        try:
            from_server, to_server = await asyncio.open_connection(*self._target)
            async with asyncio.TaskGroup() as group:
                back = group.create_task(_copy(from_server, writer))
                await self._forward(reader, to_server)
                back.cancel()
        except* (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            for end in (writer, to_server):
                if end is not None:
                    end.close()

    async def stop(self) -> None:
        """End every connection."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        code = _SSL_REQUEST
        while code == _SSL_REQUEST:
            head = await reader.readexactly(8)
            length, code = struct.unpack("!ii", head)
            writer.write(head + await reader.readexactly(length - 8))
            if code == _CANCEL_REQUEST:
                await writer.drain()
                return
        while True:
            head = await reader.readexactly(5)
            body = await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)
            kind = chr(head[0])
            self.sent[kind] += 1
            if kind in "QP":
                self.texts.append(body.decode(errors="replace"))
            writer.write(head + body)
            await writer.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def wire(dsn: str) -> AsyncIterator[Wire]:
    """Run a proxy in front of *dsn* on this event loop."""
    proxy = Wire(dsn)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), 5)
