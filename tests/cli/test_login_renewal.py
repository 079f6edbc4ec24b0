"""Renewals that meet another renewal, a logout or a login; and where the files lie meanwhile."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
import pytest

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.auth.sessions import FileSessionStore
from asgi_guard.auth.sessions.file_places import default_folder
from asgi_guard.auth.sessions.file_required import requires_session
from asgi_guard.auth.sessions.file_session import SessionFacts
from asgi_guard.cli.login_server import AuthorizationServer, discover
from asgi_guard.cli.login_session import renew_alone
from asgi_guard.errors import AuthenticationError, ConfigError
from asgi_guard.integrations.httpx import HTTPXFetch
from tests.support.login_server import Provider, running_provider

FETCH = HTTPXFetch(allow_addresses=["127.0.0.0/8"], insecure_allow_http=True)


@pytest.fixture(scope="module")
def server() -> Iterator[Provider]:
    with running_provider() as served:
        yield served


@pytest.fixture
def provider(server: Provider) -> Provider:
    server.meanwhile = lambda: None
    server.refresh = {"refresh-first"}
    server.asked.clear()
    server.revoked.clear()
    return server


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[], FileSessionStore]:
    """Open the same folders again, as another process does."""
    return lambda: FileSessionStore(tmp_path / "files", key_folder=tmp_path / "keys")


def save(store: FileSessionStore, provider: Provider, refresh: str = "refresh-first") -> None:
    store.save(
        issuer=provider.issuer,
        client_id="cli",
        secrets={"access_token": b"access-first", "refresh_token": refresh.encode()},
        ends_at=SYSTEM_CLOCK.now() + 3600,
    )


def renewed(store: FileSessionStore) -> SessionFacts:
    async def connect(issuer: str) -> AuthorizationServer:
        return await discover(issuer, fetch=FETCH, allow_http=True)

    return renew_alone(store, "default", connect=connect)


def kept(store: FileSessionStore) -> str:
    with store.load() as session:
        return session.reveal("refresh_token")


def test_two_renewals_at_once_spend_one_refresh_token(
    provider: Provider, opened: Callable[[], FileSessionStore], tmp_path: Path
) -> None:
    """A server that sees a used one ends the session of a person who did nothing wrong."""
    waits = threading.Event()
    found: list[SessionFacts | Exception] = []

    class Heard(FileSessionStore):
        @contextmanager
        def alone(self, name: str = "default") -> Iterator[None]:
            waits.set()
            with super().alone(name):
                yield

    def second() -> None:
        try:
            found.append(renewed(Heard(tmp_path / "files", key_folder=tmp_path / "keys")))
        except AuthenticationError as error:
            found.append(error)

    thread = threading.Thread(target=second)

    def meanwhile() -> None:
        thread.start()
        assert waits.wait(30), "the second has seen the session as the first did"

    save(opened(), provider)
    provider.meanwhile = meanwhile

    first = renewed(opened())
    thread.join(30)

    assert found == [first]
    assert [grant for grant, _ in provider.asked] == ["token"]
    assert kept(opened()) in provider.refresh


def test_a_renewal_does_not_bring_back_what_was_logged_out_meanwhile(
    provider: Provider, opened: Callable[[], FileSessionStore]
) -> None:
    """The person has gone; tokens that arrive afterwards are revoked, not kept."""
    save(opened(), provider)
    provider.meanwhile = lambda: opened().remove()

    with pytest.raises(AuthenticationError) as refused:
        renewed(opened())

    assert refused.value.reason == "session_replaced"
    assert opened().names() == []
    assert provider.revoked == ["refresh", "access"]
    assert provider.refresh == set()


@pytest.mark.parametrize("error", ["", "invalid_grant"], ids=["renewed", "refused"])
def test_a_renewal_leaves_a_login_alone_that_came_meanwhile(
    provider: Provider, opened: Callable[[], FileSessionStore], error: str
) -> None:
    """Whoever logged in as somebody else must not find the old account, nor nobody."""

    def meanwhile() -> str:
        save(opened(), provider, "refresh-of-the-login")
        return error

    save(opened(), provider)
    provider.meanwhile = meanwhile

    with pytest.raises(AuthenticationError) as refused:
        renewed(opened())

    assert refused.value.reason == "session_replaced"
    assert kept(opened()) == "refresh-of-the-login"


@pytest.mark.parametrize("kind", ["state", "data"])
def test_a_relative_folder_is_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older releases of platformdirs believe one; tokens would lie wherever the command started."""
    monkeypatch.setattr(platformdirs, f"user_{kind}_path", lambda *_, **__: Path("state"))

    with pytest.raises(ConfigError, match="relative"):
        default_folder(kind, "notes")


@pytest.mark.parametrize("variable", ["XDG_STATE_HOME", "HOME"])
def test_a_relative_path_in_the_environment_leads_nowhere_near(
    variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """XDG Base Directory: "consider the path invalid and ignore it"."""
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv(variable, "here")
    monkeypatch.chdir(tmp_path)

    try:
        found = default_folder("state", "notes")
    except ConfigError:
        return
    assert found.is_absolute()
    assert not found.is_relative_to(tmp_path)


def test_a_home_without_a_name_is_looked_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Under cron and in containers HOME is missing; the account still has one home."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)

    assert default_folder("state", "notes").is_absolute()


def test_a_store_stays_where_it_was_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, provider: Provider
) -> None:
    """A program that changes its folder must not split a session in two."""
    monkeypatch.chdir(tmp_path)
    store = FileSessionStore("files", key_folder="keys")
    save(store, provider)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    assert kept(store) == "refresh-first"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_folder_that_cannot_be_is_a_line_and_an_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A traceback helps nobody at a shell; nor does a program that goes on without a session."""
    (tmp_path / "file").write_text("")

    @requires_session(lambda: FileSessionStore(tmp_path / "file" / "x", key_folder=tmp_path / "k"))
    def work() -> None:
        raise AssertionError("ran without a session")

    with pytest.raises(SystemExit) as left:
        work()

    assert left.value.code == 5
    assert "session_file_unsafe" in capsys.readouterr().err


def test_folders_above_are_the_users_own_whatever_the_umask(tmp_path: Path) -> None:
    """A daemon's umask of 0 would let others swap the folder between a look and a write."""
    before = os.umask(0)
    try:
        FileSessionStore(tmp_path / "a" / "b" / "files", key_folder=tmp_path / "a" / "keys")
    finally:
        os.umask(before)

    for folder in (tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "files"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


PROGRAM = """
import ctypes, resource, sys
from asgi_guard.cli.__main__ import main
sys.argv = ["asgi-guard", "version"]
try:
    main()
except SystemExit:
    print(resource.getrlimit(resource.RLIMIT_CORE)[0], ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is of Linux")
def test_the_command_leaves_no_core_dump() -> None:
    """A crash must not write the tokens to a disk, nor to whoever collects dumps."""
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )

    assert told.stdout.splitlines()[-1] == "0 0"
