"""A PgBouncer of a test's own, in transaction mode, in front of a test's database.

Debian's 1.18 is meant: it knows no prepared statements across transactions, so what works behind
it works behind every later one.
"""

from __future__ import annotations

import shutil
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from asgi_guard.testing import PostgresDatabase
from asgi_guard.testing.accounts import service_account
from asgi_guard.testing.launch import LOOPBACK, free_port
from asgi_guard.testing.places import new_run_home
from asgi_guard.testing.supervised import Supervised

__all__ = ["PgBouncer", "find_pgbouncer", "running_pgbouncer"]

_START_SECONDS = 10
_POLL_SECONDS = 0.02
_STOP = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))  # TERM closes at once, INT waits for clients


@dataclass(frozen=True)
class PgBouncer:
    """A running pooler."""

    host: str
    port: int
    database: str
    log: Path

    def dsn(self, user: str, password: str) -> str:
        """Give a libpq URL through the pooler for one of its users."""
        return (
            f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}"
            f"@{self.host}:{self.port}/{quote(self.database, safe='')}"
        )


def find_pgbouncer() -> str | None:
    """Find the program; Debian puts it where users' PATH often does not look."""
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def running_pgbouncer(
    program: str, database: PostgresDatabase, users: Mapping[str, str], pool_size: int
) -> Iterator[PgBouncer]:
    """Run a pooler for *users* (name to password) as long as the block.

    Args:
        program: From `find_pgbouncer`.
        database: What clients reach, under its own name.
        users: Roles of the server, with the passwords the pooler takes and uses.
        pool_size: Server connections for each user.
    """
    account = service_account()
    home, lock = new_run_home(account, in_memory=False)
    try:
        port = free_port()
        ini, userlist = home / "pgbouncer.ini", home / "userlist.txt"
        userlist.write_text("".join(f"{_quoted(n)} {_quoted(p)}\n" for n, p in users.items()))
        ini.write_text(_ini(database, port, userlist, pool_size))
        for file in (ini, userlist):
            file.chmod(0o600)
            account.give(file)
        pooler = Supervised(
            [program, str(ini)],
            account=account,
            cwd=home,
            log=home / "log",
            stop_signals=_STOP,
            remove=home,
        )
        try:
            _wait_until_listening(pooler, port)
            yield PgBouncer(LOOPBACK, port, database.name, home / "log")
        finally:
            pooler.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)
        lock.release()


def _ini(database: PostgresDatabase, port: int, userlist: Path, pool_size: int) -> str:
    return f"""[databases]
{database.name} = host={database.host} port={database.port} dbname={database.name}

[pgbouncer]
listen_addr = {LOOPBACK}
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {userlist}
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 500
ignore_startup_parameters = extra_float_digits
"""


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _wait_until_listening(pooler: Supervised, port: int) -> None:
    for _ in range(round(_START_SECONDS / _POLL_SECONDS)):
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except OSError:
            if not pooler.running:
                break
            time.sleep(_POLL_SECONDS)
        else:
            return
    raise RuntimeError(f"PgBouncer did not start: {pooler.log_tail()}")
