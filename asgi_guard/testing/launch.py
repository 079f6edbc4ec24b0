"""Starting ``postgres`` on a cluster and waiting until it takes connections."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from asgi_guard.errors import ConfigError
from asgi_guard.testing.accounts import ServiceAccount
from asgi_guard.testing.binaries import PostgresBinaries
from asgi_guard.testing.cluster import ENVIRONMENT, Cluster
from asgi_guard.testing.postmaster import is_ready
from asgi_guard.testing.supervised import Supervised

__all__ = ["DURABLE", "LOOPBACK", "NOT_DURABLE", "free_port", "launch"]

LOOPBACK = "127.0.0.1"
DURABLE: dict[str, str] = {}
# Faster for throw-away data; a power cut, not a crash of the server, would lose it.
NOT_DURABLE = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_size": "256MB",  # it may lie in memory
}
_ALWAYS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",  # TCP asks for the password as well, and has no path limit
    "password_encryption": "scram-sha-256",
    "shared_buffers": "32MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_PORT_ATTEMPTS = 5
_POLL_SECONDS = 0.01
_START_SECONDS = 60
_PORT_TAKEN = "could not bind"
# Fast shutdown with a checkpoint where the data is wanted; at once where it is deleted anyway.
_STOP_KEPT = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))
_STOP_THROWAWAY = ((signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))


def launch(
    cluster: Cluster,
    account: ServiceAccount,
    binaries: PostgresBinaries,
    *,
    port: int,
    settings: Mapping[str, str],
    remove: Path | None,
) -> tuple[Supervised, int]:
    """Start the server, on a free port when *port* is 0.

    Args:
        cluster: What to serve.
        account: Whom it runs as.
        binaries: What to run.
        port: TCP port on 127.0.0.1, or 0.
        settings: Server settings; they win over our own.
        remove: Folder to delete when the server has ended, if any.

    Returns:
        The running server and its port.

    Raises:
        ConfigError: The port is taken, or the server gave up; its last words are in the message.
    """
    for _ in range(1 if port else _PORT_ATTEMPTS):
        chosen = port or free_port()
        running = _start(cluster, account, binaries, port=chosen, settings=settings, remove=remove)
        try:
            if _wait_until_ready(cluster, running):
                return running, chosen
        except BaseException:  # Ctrl-C included
            running.stop()
            raise
        words = running.log_tail()
        running.stop()
        if _PORT_TAKEN not in words:
            raise ConfigError(
                "embedded",
                f"PostgreSQL did not start: {words.strip()}",
                "Mend what it says, or start on another data_dir.",
            )
    raise ConfigError(
        "embedded.port",
        f"port {port or chosen} on {LOOPBACK} is taken",
        "Use 0 for a free port, or stop what listens there.",
    )


def free_port() -> int:
    """Give a TCP port that was free on 127.0.0.1 a moment ago."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _start(
    cluster: Cluster,
    account: ServiceAccount,
    binaries: PostgresBinaries,
    *,
    port: int,
    settings: Mapping[str, str],
    remove: Path | None,
) -> Supervised:
    log = cluster.data.with_name("log")
    log.unlink(missing_ok=True)
    options = {**_ALWAYS, "port": str(port), **settings}
    return Supervised(
        [
            binaries.program("postgres"),
            "-D",
            str(cluster.data),
            *(word for name, value in options.items() for word in ("-c", f"{name}={value}")),
        ],
        account=account,
        cwd=cluster.data.parent,
        log=log,
        stop_signals=_STOP_KEPT if remove is None else _STOP_THROWAWAY,
        remove=remove,
        env=ENVIRONMENT,
    )


def _wait_until_ready(cluster: Cluster, running: Supervised) -> bool:
    for _ in range(round(_START_SECONDS / _POLL_SECONDS)):
        if is_ready(cluster.data):
            return True
        if not running.running:
            return False
        time.sleep(_POLL_SECONDS)
    return False
