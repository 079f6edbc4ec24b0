"""A PostgreSQL server seen from outside: where it is, and databases made and dropped on it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import quote, unquote, urlsplit

from asgi_guard.errors import ConfigError, UnavailableError

__all__ = [
    "PostgresDatabase",
    "PostgresServer",
    "quote_identifier",
    "run_apart",
]

T = TypeVar("T")

_DEFAULT_PORT = 5432
_CONNECT_SECONDS = 30


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A reachable server and the superuser's way into it.

    Args:
        host: Name or address, without brackets.
        port: TCP port.
        superuser: Role that may create databases and roles.
        admin_password: That role's password; kept out of ``repr``.
        options: What follows the ``?`` of every URL, e.g. ``"sslmode=require"``.
    """

    host: str
    port: int
    superuser: str
    admin_password: str = field(repr=False)
    options: str = ""

    @classmethod
    def from_dsn(cls, dsn: str) -> PostgresServer:
        """Read a superuser's libpq URL, e.g. ``postgresql://postgres:pw@127.0.0.1:5432/postgres``.

        Raises:
            ConfigError: It is not such a URL, or lacks the host or the user.
        """
        remedy = "Use postgresql://superuser:password@host:port/postgres."
        try:
            parts = urlsplit(dsn)
            host, port = parts.hostname, parts.port or _DEFAULT_PORT
        except ValueError:
            raise ConfigError("testing.dsn", "the URL cannot be read", remedy) from None
        if parts.scheme not in {"postgresql", "postgres"} or not host or not parts.username:
            raise ConfigError("testing.dsn", "the URL lacks scheme, host or user", remedy)
        password = unquote(parts.password or "")
        return cls(host, port, unquote(parts.username), password, parts.query)

    def dsn(
        self, database: str = "postgres", *, user: str | None = None, password: str | None = None
    ) -> str:
        """Give a libpq URL for *database*, as the superuser unless *user* says otherwise."""
        if user is None:
            user = self.superuser
            password = self.admin_password if password is None else password
        secret = "" if password is None else f":{quote(password, safe='')}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (
            f"postgresql://{quote(user, safe='')}{secret}@{host}:{self.port}"
            f"/{quote(database, safe='')}{'?' if self.options else ''}{self.options}"
        )

    def create_database(self, name: str, template: str | None = None) -> PostgresDatabase:
        """Make a database, a copy of *template* when given (nobody may be connected to that).

        Raises:
            UnavailableError: The server cannot be reached, or does not let us in.
            asyncpg.PostgresError: It refuses a statement.
        """
        statement = f"CREATE DATABASE {quote_identifier(name)}"
        if template is not None:
            statement += f" TEMPLATE {quote_identifier(template)}"
        self.execute(statement)
        return PostgresDatabase(self, name)

    def drop_database(self, name: str) -> None:
        """Drop a database where it exists, closing the connections to it.

        Raises:
            UnavailableError: The server cannot be reached, or does not let us in.
            asyncpg.PostgresError: It refuses a statement.
        """
        self.execute(f"DROP DATABASE IF EXISTS {quote_identifier(name)} WITH (FORCE)")

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements one after another as the superuser, each in its own transaction.

        May be called with or without a running event loop; it blocks until done.

        Raises:
            UnavailableError: The server cannot be reached, or does not let us in.
            asyncpg.PostgresError: It refuses a statement.
        """
        run_apart(_execute(self.dsn(database), statements))


@dataclass(frozen=True, slots=True)
class PostgresDatabase:
    """One database on a server, e.g. the one that belongs to a test."""

    server: PostgresServer
    name: str

    @property
    def host(self) -> str:
        """The server's name or address."""
        return self.server.host

    @property
    def port(self) -> int:
        """The server's TCP port."""
        return self.server.port

    @property
    def superuser(self) -> str:
        """The role that `dsn` names by default."""
        return self.server.superuser

    @property
    def admin_password(self) -> str:
        """The superuser's password."""
        return self.server.admin_password

    def dsn(self, user: str | None = None, password: str | None = None) -> str:
        """Give a libpq URL for this database, as the superuser unless *user* says otherwise."""
        return self.server.dsn(self.name, user=user, password=password)

    def execute(self, *statements: str) -> None:
        """Run statements in this database as the superuser; see `PostgresServer.execute`.

        Raises:
            UnavailableError: The server cannot be reached, or does not let us in.
            asyncpg.PostgresError: It refuses a statement.
        """
        self.server.execute(*statements, database=self.name)


def quote_identifier(name: str) -> str:
    """Quote *name* for SQL (PostgreSQL manual, section 4.1.1).

    Raises:
        ConfigError: It is empty or holds a zero character, which no identifier may.
    """
    if not name or "\0" in name:
        raise ConfigError("testing.database", f"{name!r} is not an identifier", "Name it plainly.")
    return '"' + name.replace('"', '""') + '"'


def run_apart(work: Coroutine[None, None, T]) -> T:
    """Run *work* on an event loop of its own, in a thread of its own, and wait for it.

    A test's own loop may be running in this thread, and a second one cannot be started there.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work).result()


async def _execute(dsn: str, statements: tuple[str, ...]) -> None:
    import asyncpg  # noqa: PLC0415 - importing this module must not load a driver

    try:
        connection = await asyncpg.connect(dsn, timeout=_CONNECT_SECONDS)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise UnavailableError("postgres_unreachable") from error
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
