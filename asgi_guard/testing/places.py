"""Where servers keep their files: private folders that a later start can find and clear.

A *home* is one server's folder. It is locked with ``flock`` for as long as its owner lives; the
kernel lets go of the lock even after ``kill -9``, so a home whose lock is free has no owner.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

from asgi_guard.errors import ConfigError
from asgi_guard.testing.accounts import ServiceAccount

__all__ = ["HomeLock", "base_folder", "new_run_home", "prepare_home", "reachable_home", "run_homes"]

_MEMORY = Path("/dev/shm")  # noqa: S108 - checked by _own_directory
_MEMORY_NEEDED = 2 * 2**30  # containers often give 64 MiB, which the server's own use would fill
_LOCK_NAME = "owner.lock"
_RUN_PREFIX = "run-"
_PRIVATE = 0o700
_PASSABLE = 0o711


class HomeLock:
    """The claim of one owner on one home; released when the owner closes it or dies.

    Raises:
        BlockingIOError: Another living owner holds the home.
        FileNotFoundError: The home was cleared between its making and this claim.
    """

    def __init__(self, home: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(home / _LOCK_NAME, flags, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever cleared this home held the lock while the file's name went away: our lock
            # would then be on a file nobody else can see, and would exclude no one.
            if (home / _LOCK_NAME).stat().st_ino != os.fstat(self._fd).st_ino:
                raise FileNotFoundError(home)  # noqa: TRY301 - one way out closes the descriptor
        except BaseException:
            self.release()
            raise
        _held.add(self)

    def release(self) -> None:
        """Let go of the home; harmless when done twice.

        In a forked child this closes the child's copy only: the parent keeps its claim.
        """
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def base_folder(account: ServiceAccount, *, in_memory: bool = False) -> Path:
    """Find or make the folder under the system's temporary folder that holds our homes.

    Its name is known to everyone, so it is used only when it is a real directory of our own that
    nobody else may write (a planted one would choose our files for us).

    Args:
        account: Must be able to traverse it.
        in_memory: Prefer a memory file system with room: a database is then made in 10 ms, where
            a busy disk was seen to take 150 ms.

    Raises:
        ConfigError: No temporary folder can be used.
    """
    roomy = in_memory and _free_bytes(_MEMORY) >= _MEMORY_NEEDED
    parents = [_MEMORY, *_temporary_folders()] if roomy else _temporary_folders()
    for parent in parents:
        base = _base_under(parent)
        if account.can_enter(parent) and _own_directory(base, account):
            return base
    raise ConfigError(
        "embedded.data_dir",
        f"no folder of ours can be made under {', '.join(map(str, parents))}",
        "Set TMPDIR to a folder that this user can write and others can traverse.",
    )


def _temporary_folders() -> list[Path]:
    return list(dict.fromkeys((Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"))))  # noqa: S108 - checked by _own_directory


def _base_under(parent: Path) -> Path:
    return parent / f"asgi-guard-{os.geteuid()}"


def _free_bytes(folder: Path) -> int:
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def _own_directory(path: Path, account: ServiceAccount) -> bool:
    mode = _PASSABLE if account.switch else _PRIVATE
    try:
        path.mkdir(mode=mode)
        path.chmod(mode)  # the umask may have taken the x bits
    except FileExistsError:
        pass
    except OSError:
        return False
    found = path.lstat()
    writable_by_others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return ours and not writable_by_others and account.can_enter(path)


def reachable_home(asked: Path, account: ServiceAccount) -> Path:
    """Give the home to use for *asked*: itself, or a stand-in the account can reach.

    Root's own folders are often closed to others (``/root`` is 0700). Opening them for a test
    server would be wrong, so the data goes under `base_folder`, always to the same place for the
    same *asked*.
    """
    wanted = Path(os.path.abspath(asked))  # noqa: PTH100 - Path.resolve would follow the last link
    existing = next(folder for folder in (wanted, *wanted.parents) if folder.is_dir())
    if account.can_enter(existing):
        return wanted
    mark = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:12]
    return base_folder(account) / f"{wanted.name}-{mark}"


def prepare_home(home: Path, account: ServiceAccount) -> None:
    """Make *home* where missing; its parents too, with the default mode.

    Raises:
        ConfigError: It is not a directory of ours, or holds files that are not a server's.
    """
    missing = not home.exists()
    home.mkdir(parents=True, exist_ok=True)
    if missing:
        home.chmod(_PASSABLE if account.switch else _PRIVATE)
    found = home.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ConfigError(
            "embedded.data_dir",
            f"{home} is not a directory owned by this user",
            "Name a folder of your own, or one that does not exist yet.",
        )
    if any(home.iterdir()) and not (home / _LOCK_NAME).exists():
        raise ConfigError(
            "embedded.data_dir",
            f"{home} holds files that this package did not make",
            "Name an empty folder, or one that does not exist yet.",
        )


def new_run_home(account: ServiceAccount, *, in_memory: bool) -> tuple[Path, HomeLock]:
    """Make and claim a home for one run, to be removed at its end."""
    base = base_folder(account, in_memory=in_memory)
    while True:
        home = Path(tempfile.mkdtemp(prefix=_RUN_PREFIX, dir=base))
        try:
            home.chmod(_PASSABLE if account.switch else _PRIVATE)
            return home, HomeLock(home)
        except (FileNotFoundError, BlockingIOError):  # cleared by a sweep that came in between
            shutil.rmtree(home, ignore_errors=True)


def run_homes(account: ServiceAccount) -> Iterator[tuple[Path, HomeLock]]:
    """Claim, one after another, the one-run homes whose owner is dead."""
    bases = [_base_under(parent) for parent in (_MEMORY, *_temporary_folders())]
    owned = [base for base in bases if base.is_dir() and _own_directory(base, account)]
    for home in (found for base in owned for found in base.glob(f"{_RUN_PREFIX}*")):
        try:
            lock = HomeLock(home)
        except OSError:  # its owner lives
            continue
        try:
            yield home, lock
        finally:
            lock.release()


_held: weakref.WeakSet[HomeLock] = weakref.WeakSet()


def _release_after_fork() -> None:
    """A forked child must not hold a dead parent's homes."""
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_release_after_fork)
