"""Servers on loopback that answer what they are told, and names that lead where they are told."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme

__all__ = ["Authority", "RawServer", "lead_names", "raw_server"]

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    def trusting(self) -> ssl.SSLContext:
        """Return what a client needs that trusts this authority alone."""
        context = ssl.create_default_context(cadata=self._ca.cert_pem.bytes().decode())
        assert context.check_hostname
        return context

    def serving(self, *names: str) -> ssl.SSLContext:
        """Return what a server needs that is called *names*."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*names).configure_cert(context)
        return context


class RawServer:
    """Counts who came, and keeps the heads of their requests."""

    def __init__(self, answer: bytes | Talk, greeting: bytes = b"") -> None:
        self._answer, self._greeting = answer, greeting
        self.heads: list[str] = []
        self.connections = 0
        self.port = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        try:
            writer.write(self._greeting)
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode("latin-1"))
            if callable(self._answer):
                await self._answer(reader, writer)
            else:
                writer.write(self._answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client hung up, as some of these tests want
        finally:
            writer.close()


@asynccontextmanager
async def raw_server(
    answer: bytes | Talk,
    tls: ssl.SSLContext | None = None,
    *,
    greeting: bytes = b"",
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[RawServer]:
    """Serve *answer* to whoever connects, until the block ends."""
    served = RawServer(answer, greeting)
    server = await asyncio.start_server(served.talk, host, port, ssl=tls)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()


def lead_names(monkeypatch: pytest.MonkeyPatch, **names: list[list[str]]) -> list[str]:
    """Answer look-ups of *names*, whose dots are written ``_``; return the names looked up.

    Each look-up takes the next list of addresses, and the last one again and again: what a
    hostile name server does.
    """
    asked: list[str] = []
    system = socket.getaddrinfo

    def look_up(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        answers = names.get(str(host).replace(".", "_"))
        if answers is None:
            return system(host, port, *args, **options)
        asked.append(str(host))
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            found for each in addresses for found in system(each, port, type=socket.SOCK_STREAM)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked
