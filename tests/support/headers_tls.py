"""An app on https://localhost, port 443, with a certificate authority of the test's own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trustme
import uvicorn

from tests.support.availability import unavailable

__all__ = ["https_localhost"]


@asynccontextmanager
async def https_localhost(app: Any, folder: Path) -> AsyncIterator[Path]:
    """Serve *app*; give the path of the authority's certificate."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority_file, key_file = folder / "authority.pem", folder / "server.pem"
    authority.cert_pem.write_to_path(str(authority_file))
    certificate.private_key_and_cert_chain_pem.write_to_path(str(key_file))
    config = uvicorn.Config(
        app,
        ssl_certfile=str(key_file),
        server_header=False,
        lifespan="off",
        ws="none",
        log_level="error",
    )
    listener = _port_443()
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(10):
            while not server.started:  # noqa: ASYNC110 - uvicorn has a flag and no event
                await asyncio.sleep(0.02)
        yield authority_file
    finally:
        server.should_exit = True
        await serving
        listener.close()


def _port_443() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", 443))
    except OSError as problem:
        listener.close()
        unavailable("port 443 of 127.0.0.1", str(problem))
    return listener
