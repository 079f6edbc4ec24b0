"""A Redis (or Valkey) of the tests' own, on loopback, with a password, keeping nothing on disk."""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from asgi_guard.testing.accounts import service_account
from asgi_guard.testing.launch import LOOPBACK, free_port
from asgi_guard.testing.places import new_run_home
from asgi_guard.testing.supervised import Supervised

__all__ = ["RedisServer", "find_redis", "running_redis"]

_START_SECONDS = 10
_POLL_SECONDS = 0.02
_STOP = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))


@dataclass(frozen=True)
class RedisServer:
    """A running server."""

    port: int
    password: str = field(repr=False)
    process: Supervised = field(repr=False)

    @property
    def url(self) -> str:
        """Where clients find it, with the password."""
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    def stop(self) -> None:
        """End it before its block does."""
        self.process.stop()


def find_redis() -> str | None:
    """Find the program of Redis, or of Valkey."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


@contextmanager
def running_redis(program: str, *, port: int = 0, more: str = "") -> Iterator[RedisServer]:
    """Run a server as long as the block.

    Args:
        program: From `find_redis`.
        port: 0 for a free one.
        more: Further lines of its configuration.
    """
    account = service_account()
    home, lock = new_run_home(account, in_memory=False)
    try:
        port = port or free_port()
        password = secrets.token_hex(16)
        config = home / "redis.conf"
        data = home / "data"
        data.mkdir(mode=0o700)
        account.give(data)
        config.write_text(_config(port, password, str(data)) + more)
        config.chmod(0o600)
        account.give(config)
        process = Supervised(
            [program, str(config)],
            account=account,
            cwd=home,
            log=home / "log",
            stop_signals=_STOP,
            remove=home,
        )
        try:
            _wait_until_listening(process, port)
            yield RedisServer(port, password, process)
        finally:
            process.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)
        lock.release()


def _config(port: int, password: str, home: str) -> str:
    return f"""bind {LOOPBACK}
port {port}
requirepass {password}
save ""
appendonly no
dir {home}
maxmemory-policy noeviction
"""


def _wait_until_listening(process: Supervised, port: int) -> None:
    for _ in range(round(_START_SECONDS / _POLL_SECONDS)):
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except OSError:
            if not process.running:
                break
            time.sleep(_POLL_SECONDS)
        else:
            return
    raise RuntimeError(f"Redis did not start: {process.log_tail()}")
