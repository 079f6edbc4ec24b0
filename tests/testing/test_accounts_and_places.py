"""Whom servers run as, and which folders are good enough to keep their files."""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from asgi_guard.errors import ConfigError
from asgi_guard.testing.accounts import ServiceAccount, service_account
from asgi_guard.testing.places import (
    HomeLock,
    base_folder,
    new_run_home,
    prepare_home,
    reachable_home,
    run_homes,
)

AS_ROOT = os.geteuid() == 0
STRANGER = ServiceAccount("stranger", 54321, 54321, switch=False)
as_root = pytest.mark.skipif(not AS_ROOT, reason="needs root")
as_user = pytest.mark.skipif(AS_ROOT, reason="needs not to be root")


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make a temporary folder of the test's own the system's; everyone may traverse it."""
    with tempfile.TemporaryDirectory(dir=base_folder(service_account())) as name:
        folder = Path(name)
        folder.chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield folder


@as_root
def test_root_hands_servers_to_an_account_without_rights() -> None:
    """PostgreSQL refuses root, and so should anything that parses hostile input."""
    account = service_account()

    assert account.uid != 0
    assert account.switch


@as_root
@pytest.mark.parametrize(("name", "words"), [("root", "root's rights"), ("no-such", "no such")])
def test_an_account_that_will_not_do_is_refused(name: str, words: str) -> None:
    """The way out is in the message."""
    with pytest.raises(ConfigError, match=words):
        service_account(name)


@as_root
def test_root_may_choose_the_account() -> None:
    """An administrator who made one for this gets it."""
    assert service_account("daemon").uid == pwd.getpwnam("daemon").pw_uid


@as_user
def test_a_user_runs_servers_as_itself_and_as_nobody_else() -> None:
    """There is nothing to switch to, and saying otherwise is a mistake."""
    assert service_account().uid == os.geteuid()
    with pytest.raises(ConfigError, match="may not start servers as"):
        service_account("root")


def test_a_closed_folder_anywhere_above_is_out_of_reach(tmp_path: Path) -> None:
    """The server fails on the first folder it cannot traverse, whatever is open below it."""
    inner = tmp_path / "closed" / "open"
    inner.mkdir(parents=True)
    inner.chmod(0o777)

    assert not STRANGER.can_enter(inner)
    assert not STRANGER.can_enter(tmp_path / "missing")
    assert STRANGER.can_enter(Path("/"))


def test_homes_lie_in_a_folder_that_only_we_can_write(temporary: Path) -> None:
    """Whoever can write it could swap a server's files."""
    base = base_folder(service_account())

    assert base == temporary / f"asgi-guard-{os.geteuid()}"
    assert base.stat().st_mode & 0o777 == (0o711 if AS_ROOT else 0o700)
    assert base_folder(service_account()) == base


@pytest.mark.parametrize("plant", ["link", "file", "writable", "closed"])
def test_a_planted_folder_is_not_used(temporary: Path, plant: str) -> None:
    """Its name is known: another user of the machine may have been there first."""
    planted = temporary / f"asgi-guard-{os.geteuid()}"
    if plant == "link":
        (temporary / "elsewhere").mkdir()
        planted.symlink_to(temporary / "elsewhere")
    elif plant == "file":
        planted.write_text("")
    else:
        planted.mkdir()
        planted.chmod(0o777 if plant == "writable" else 0o000)

    assert not base_folder(service_account()).is_relative_to(temporary)


@as_root
def test_a_folder_of_somebody_else_is_not_used(temporary: Path) -> None:
    """Its owner could open it later."""
    planted = temporary / f"asgi-guard-{os.geteuid()}"
    planted.mkdir()
    os.chown(planted, STRANGER.uid, STRANGER.gid)
    planted.chmod(0o711)

    assert not base_folder(service_account()).is_relative_to(temporary)


def test_a_home_has_one_owner_at_a_time(temporary: Path) -> None:
    """Two servers on one folder destroy it."""
    lock = HomeLock(temporary)
    with pytest.raises(BlockingIOError):
        HomeLock(temporary)

    lock.release()
    lock.release()

    HomeLock(temporary).release()


def test_only_abandoned_homes_are_handed_out_for_clearing(temporary: Path) -> None:
    """A living owner's data is not rubbish."""
    account = service_account()
    mine, lock = new_run_home(account, in_memory=False)
    abandoned, dead = new_run_home(account, in_memory=False)
    dead.release()

    found = [home for home, _ in run_homes(account) if home.is_relative_to(temporary)]

    assert found == [abandoned]
    assert mine.is_relative_to(temporary)
    lock.release()


def test_a_folder_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    """A link or a stranger's folder would send the data elsewhere."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    with pytest.raises(ConfigError, match="not a directory owned by this user"):
        prepare_home(tmp_path / "link", service_account())


def test_a_stand_in_is_the_same_each_time_and_differs_between_folders(tmp_path: Path) -> None:
    """The demo must find its data again, and not another project's."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    account = ServiceAccount("stranger", 54321, 54321, switch=AS_ROOT)
    if not AS_ROOT:
        pytest.skip("a user reaches its own folders")

    first, again = (reachable_home(closed / "data", account) for _ in range(2))

    assert first == again
    assert first != reachable_home(tmp_path / "data", account)
    assert account.can_enter(first.parent)
