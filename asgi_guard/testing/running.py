"""One server for a run: the one that was named, or an embedded one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from asgi_guard.testing.embedded import EmbeddedPostgres
from asgi_guard.testing.server import PostgresServer

__all__ = ["running_server"]


@contextmanager
def running_server(dsn: str | None) -> Iterator[PostgresServer]:
    """Give the server that *dsn* names, or one that runs as long as the block.

    Args:
        dsn: A superuser's libpq URL, or ``None``.

    Raises:
        ConfigError: No server can be started, or *dsn* cannot be read.
        UnavailableError: The server of *dsn* cannot be reached.
    """
    if dsn is not None:
        server = PostgresServer.from_dsn(dsn)
        server.execute("SELECT 1")
        yield server
        return
    with EmbeddedPostgres(durable=False) as embedded:
        yield embedded.server
