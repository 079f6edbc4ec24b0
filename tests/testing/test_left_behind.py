"""However its owner ends, a server ends with it or at the next start; strangers are left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from asgi_guard.testing import EmbeddedPostgres
from asgi_guard.testing.accounts import service_account
from asgi_guard.testing.binaries import find_binaries
from asgi_guard.testing.cluster import ENVIRONMENT
from asgi_guard.testing.launch import free_port
from asgi_guard.testing.places import base_folder
from asgi_guard.testing.postmaster import is_server_of, stop_stale_server

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
]

ROOT = Path(__file__).parents[2]
OWNER = ROOT / "tests" / "support" / "owner.py"
PATIENCE = 20.0


@dataclass(frozen=True)
class Owner:
    """A running owner process and what it said it started."""

    process: subprocess.Popen[str]
    pid: int
    supervisor: int
    home: Path
    dsn: str
    child: int

    @property
    def data(self) -> Path:
        return self.home / "data"


@contextmanager
def owner(*arguments: str) -> Iterator[Owner]:
    process = subprocess.Popen(
        [sys.executable, str(OWNER), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
    )
    with process:
        try:
            told = json.loads(process.stdout.readline())
            yield Owner(process, **told | {"home": Path(told["home"])})
        finally:
            process.kill()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for a kept cluster, removed through the front door."""
    found = base_folder(service_account()) / f"test-{os.getpid()}-{os.urandom(4).hex()}"
    yield found
    if found.exists():
        with EmbeddedPostgres(found, durable=False, keep=False):
            pass


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait for another process; the limit only ends a test that has already failed."""
    for _ in range(round(PATIENCE / 0.02)):
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_server_ends_with_its_owner_however_that_ends(how: signal.Signals) -> None:
    """No handler runs at kill -9: something else must be watching."""
    with owner() as started:
        assert is_server_of(started.data, started.pid)

        started.process.send_signal(how)
        started.process.wait(PATIENCE)

        assert eventually(lambda: not Path(f"/proc/{started.supervisor}").exists())
        assert not Path(f"/proc/{started.pid}").exists()
        assert not started.home.exists()


def test_the_server_ends_even_when_its_supervisor_is_killed_as_well() -> None:
    """The out-of-memory killer does not choose only one."""
    with owner() as started:
        os.kill(started.supervisor, signal.SIGKILL)  # read from /proc by its owner a moment ago
        started.process.kill()

        assert eventually(lambda: not Path(f"/proc/{started.pid}").exists())

    # Whoever starts next clears it, another test at this moment perhaps.
    with EmbeddedPostgres(durable=False):
        assert not started.home.exists(), "the next start clears what a dead owner left"


def test_a_forked_child_neither_stops_nor_outlives_its_parents_server() -> None:
    """Test runners and servers fork; a child holds copies of all its parent's descriptors."""
    with owner("FORK=1") as started:
        try:
            with psycopg.connect(started.dsn) as connection:
                connection.execute("SELECT 1")

            started.process.kill()

            assert eventually(lambda: not Path(f"/proc/{started.pid}").exists())
            assert eventually(lambda: not started.home.exists())
            assert Path(f"/proc/{started.child}").exists()
        finally:
            os.kill(started.child, signal.SIGKILL)  # still our own process's child, see above


def test_a_server_left_on_the_same_folder_is_stopped_by_the_next_start(folder: Path) -> None:
    """Two servers on one folder destroy it; a port that stays taken stops the demo."""
    with orphan(folder) as left, EmbeddedPostgres(folder, durable=False) as postgres:
        assert left.wait(PATIENCE) == 0
        assert postgres.pid != left.pid


def test_a_server_killed_in_the_middle_of_its_work_recovers_at_the_next_start(
    folder: Path,
) -> None:
    """A power cut of the owner must not cost the demo's data."""
    with owner(str(folder)) as started:
        with psycopg.connect(started.dsn, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept (id int)")
        os.kill(started.supervisor, signal.SIGKILL)
        os.kill(started.pid, signal.SIGKILL)  # checked by its owner, and its parent just died
        started.process.kill()
        started.process.wait(PATIENCE)

    with EmbeddedPostgres(folder, durable=False) as again, psycopg.connect(again.dsn()) as found:
        found.execute("SELECT * FROM kept")


def test_a_stranger_named_in_the_pid_file_is_not_signalled(folder: Path) -> None:
    """Pids are reused: after a reboot the number may be anybody's."""
    with EmbeddedPostgres(folder, durable=False):
        pass
    with subprocess.Popen(["sleep", "600"]) as stranger:
        try:
            (folder / "data" / "postmaster.pid").write_text(f"{stranger.pid}\n{folder}/data\n")

            with EmbeddedPostgres(folder, durable=False):
                assert stranger.poll() is None
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_server_of_another_folder_named_in_the_pid_file_is_not_signalled(folder: Path) -> None:
    """Being a postgres is not enough: it must be this folder's."""
    with EmbeddedPostgres(folder, durable=False):
        pass
    with EmbeddedPostgres(durable=False) as other:
        (folder / "data" / "postmaster.pid").write_text(f"{other.pid}\n{folder}/data\n")

        with EmbeddedPostgres(folder, durable=False):
            other.server.execute("SELECT 1")
        other.server.execute("SELECT 1")


@pytest.mark.parametrize("content", ["", "-1\n", "0\n", "no number\n", "99999999999999999999\n"])
def test_a_pid_file_that_names_nobody_is_cleared(tmp_path: Path, content: str) -> None:
    """Pid -1 means everybody, 0 our own group: they must never reach kill()."""
    (tmp_path / "postmaster.pid").write_text(content)

    assert not stop_stale_server(tmp_path)

    assert not (tmp_path / "postmaster.pid").exists()


def test_folders_of_living_owners_are_not_swept() -> None:
    """Two test runs on one machine start and stop at any moment."""
    with owner() as started, EmbeddedPostgres(durable=False):
        assert started.home.exists()
        with psycopg.connect(started.dsn) as connection:
            connection.execute("SELECT 1")


def test_a_folder_whose_initdb_was_interrupted_is_made_anew(folder: Path) -> None:
    """Half a cluster must not be taken for a whole one."""
    with EmbeddedPostgres(folder, durable=False):
        pass
    (folder / "data").rename(folder / "data.new")
    (folder / "data.new" / "global" / "pg_control").unlink()

    with EmbeddedPostgres(folder, durable=False) as postgres:
        postgres.server.execute("SELECT 1")
        assert not (folder / "data.new").exists()


@contextmanager
def orphan(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server on *folder* that nobody supervises, as an owner of long ago may have left."""
    with EmbeddedPostgres(folder, durable=False):
        pass
    account = service_account()
    server = subprocess.Popen(
        [
            find_binaries(account).program("postgres"),
            *("-D", str(folder / "data"), "-c", "listen_addresses=127.0.0.1"),
            *("-c", f"port={free_port()}", "-c", "unix_socket_directories="),
        ],
        user=account.uid if account.switch else None,
        group=account.gid if account.switch else None,
        extra_groups=[] if account.switch else None,
        env=ENVIRONMENT,
        stderr=subprocess.DEVNULL,
    )
    with server:
        try:
            assert eventually((folder / "data" / "postmaster.pid").exists)
            yield server
        finally:
            server.kill()
