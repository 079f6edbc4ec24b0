"""An embedded PostgreSQL: a real server for tests and the demo, installed by pip.

It listens on 127.0.0.1 only, asks everyone for a password (SCRAM, RFC 7677), and ends with the
process that started it, however that ends.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.testing.accounts import ServiceAccount, service_account
from asgi_guard.testing.binaries import find_binaries
from asgi_guard.testing.cluster import DATA, SUPERUSER, UNFINISHED, open_cluster
from asgi_guard.testing.launch import DURABLE, LOOPBACK, NOT_DURABLE, launch
from asgi_guard.testing.places import (
    HomeLock,
    new_run_home,
    prepare_home,
    reachable_home,
    run_homes,
)
from asgi_guard.testing.postmaster import stop_stale_server
from asgi_guard.testing.server import PostgresDatabase, PostgresServer
from asgi_guard.testing.supervised import Supervised

__all__ = ["EmbeddedPostgres"]

_HIGHEST_PORT = 65535


class EmbeddedPostgres:
    """A PostgreSQL server of this process's own; use it with ``with``, or `start` and `stop`.

    Args:
        data_dir: Folder to keep the data in, made where missing; ``None`` for a folder that is
            deleted at the end. Run by root, a folder that the service account cannot reach is
            replaced by one under the temporary folder, the same at each start (see `home`).
        port: TCP port; 0 for a free one.
        keep: Whether the data outlives the server; by default when *data_dir* is given.
        durable: ``False`` trades crash safety for speed, for tests: ``fsync`` off, and without
            *data_dir* the data in memory where there is room.
        bin_dir: Folder with another PostgreSQL's ``initdb`` and ``postgres``, 14 or later.
        account: Whom the server runs as when we are root; else it runs as ourselves.
        settings: Further server settings, e.g. ``{"log_statement": "all"}``.

    Raises:
        ConfigError: A value is out of range; from `start`, whatever keeps the server from
            starting, with its remedy.

    A server that an earlier process left on the same *data_dir* is stopped first; folders of
    dead processes are cleared. Two processes never share one folder.
    """

    def __init__(
        self,
        data_dir: str | Path | None = None,
        *,
        port: int = 0,
        keep: bool | None = None,
        durable: bool = True,
        bin_dir: str | Path | None = None,
        account: str | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        if not 0 <= port <= _HIGHEST_PORT:
            raise ConfigError("embedded.port", f"{port} is not a TCP port", "Use 0 to 65535.")
        self._asked = None if data_dir is None else Path(data_dir)
        self._port = port
        self._keep = data_dir is not None if keep is None else keep
        if self._keep and data_dir is None:
            raise ConfigError("embedded.keep", "there is no data_dir to keep", "Name a data_dir.")
        self._durable = durable
        self._bin_dir = None if bin_dir is None else Path(bin_dir)
        self._account_name = account
        self._settings = dict(settings or {})
        self._running: Supervised | None = None
        self._server: PostgresServer | None = None
        self._home: Path | None = None
        self._owner = os.getpid()
        self._release = ExitStack()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> PostgresServer:
        """Start the server and wait until it takes connections, in about a second.

        Returns:
            The server's address; also in `server`.

        Raises:
            MissingExtraError: The wheel is not installed and no ``bin_dir`` was given.
            ConfigError: It is already started, or cannot be; the message says what to do.
        """
        if self._running is not None:
            raise ConfigError("embedded", "this server is already started", "Stop it first.")
        account = service_account(self._account_name)
        binaries = find_binaries(account, self._bin_dir)
        with ExitStack() as undo:
            home = self._claim_home(account, undo)
            cluster = open_cluster(home, account, binaries, durable=self._durable)
            running, port = launch(
                cluster,
                account,
                binaries,
                port=self._port,
                settings=(DURABLE if self._durable else NOT_DURABLE) | self._settings,
                remove=None if self._keep else home,
            )
            undo.callback(running.stop)
            self._running, self._home, self._owner = running, home, os.getpid()
            self._server = PostgresServer(LOOPBACK, port, SUPERUSER, cluster.password)
            self._release = undo.pop_all()
        return self._server

    def stop(self) -> None:
        """Stop the server, wait for its end, and delete its folder unless it is kept.

        Harmless when done twice, and in a forked child, which leaves its parent's server alone.
        """
        if os.getpid() == self._owner:
            self._running = self._server = None
            self._release.close()

    @property
    def server(self) -> PostgresServer:
        """Where the server is.

        Raises:
            UnavailableError: It is not started.
        """
        if self._server is None:
            raise UnavailableError("embedded_postgres_not_started")
        return self._server

    @property
    def home(self) -> Path:
        """The folder that holds the data folder, the log and the password.

        Raises:
            UnavailableError: The server is not started.
        """
        if self._home is None or self._server is None:
            raise UnavailableError("embedded_postgres_not_started")
        return self._home

    @property
    def pid(self) -> int:
        """The postmaster's process id.

        Raises:
            UnavailableError: The server is not started.
        """
        if self._running is None:
            raise UnavailableError("embedded_postgres_not_started")
        return self._running.pid

    def dsn(
        self, database: str = "postgres", *, user: str | None = None, password: str | None = None
    ) -> str:
        """Give a libpq URL; see `PostgresServer.dsn`."""
        return self.server.dsn(database, user=user, password=password)

    def create_database(self, name: str, template: str | None = None) -> PostgresDatabase:
        """Make a database; see `PostgresServer.create_database`."""
        return self.server.create_database(name, template)

    def drop_database(self, name: str) -> None:
        """Drop a database; see `PostgresServer.drop_database`."""
        self.server.drop_database(name)

    def _claim_home(self, account: ServiceAccount, undo: ExitStack) -> Path:
        """Give a folder that is ours alone, until *undo* lets go of it."""
        for abandoned, _ in run_homes(account):
            _stop_stale_servers(abandoned)
            shutil.rmtree(abandoned, ignore_errors=True)
        if self._asked is None:
            home, lock = new_run_home(account, in_memory=not self._durable)
        else:
            home = reachable_home(self._asked, account)
            prepare_home(home, account)
            try:
                lock = HomeLock(home)
            except BlockingIOError:
                raise ConfigError(
                    "embedded.data_dir",
                    f"{home} is in use by another running server",
                    "Stop that one, or name another folder.",
                ) from None
        undo.callback(lock.release)
        if not self._keep:
            undo.callback(shutil.rmtree, home, ignore_errors=True)
        _stop_stale_servers(home)
        return home


def _stop_stale_servers(home: Path) -> None:
    """Stop what a dead owner left: its server, or the one that initdb was running."""
    for data in (home / DATA, home / UNFINISHED):
        stop_stale_server(data)
