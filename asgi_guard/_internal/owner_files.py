"""A folder of secrets that one user owns: checked when opened, replaced whole, locked.

A key file that others can read is no secret; one that they can write, or a link that they can
turn, lets them choose the key. Everything here blocks: call it from a thread.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from asgi_guard.errors import ConfigError

__all__ = ["OwnerFolder"]

_OTHERS: Final = 0o077
_FILE: Final = 0o600
_FOLDER: Final = 0o700
_NO_LINK: Final = os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK: Final = "lock"


class OwnerFolder:
    """Files of mode 0600 in a folder of mode 0700, both of this process's user.

    Args:
        path: The folder; made when it is not there.

    Raises:
        ConfigError: It is a link or no folder, another user's, or open to others: wider
            permissions are refused and not mended, for somebody may have looked already.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.path.mkdir(mode=_FOLDER)
        except FileExistsError:
            self._check()

    def read(self, name: str, *, limit: int) -> bytes | None:
        """Return a file's content, or None if there is no such file.

        Raises:
            ConfigError: It is a link or no regular file, another user's, open to others, or has
                more than *limit* bytes; or the folder is no longer private.
        """
        self._check()
        path = self.path / name
        try:
            # Non-blocking: a named pipe in its place would hang the start for ever.
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | _NO_LINK)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(str(path), f"cannot be read ({error.strerror})", "See it.") from None
        with os.fdopen(fd, "rb") as file:
            _check(path, os.fstat(fd), is_folder=False)
            content = file.read(limit + 1)
        if len(content) > limit:
            raise ConfigError(str(path), f"has more than {limit} bytes", "Is it the right file?")
        return content

    def replace(self, name: str, content: bytes) -> None:
        """Put *content* in a file's place at once: readers see the old or the new, whole.

        Temporary file, ``fsync``, ``rename``, ``fsync`` of the folder; a crash at any point leaves
        one of the two. Hold the lock, so that the temporary name is nobody else's.
        """
        beside = self.path / f"{name}.new"
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NO_LINK, _FILE)
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, _FILE)  # whatever the umask took, or a leftover had
            file.write(content)
            file.flush()
            os.fsync(fd)
        beside.replace(self.path / name)
        self._sync()

    def stamp(self, name: str) -> tuple[int, int, int] | None:
        """Return what changes whenever a file is replaced, or None if there is none."""
        try:
            found = (self.path / name).lstat()
        except FileNotFoundError:
            return None
        return (found.st_ino, found.st_mtime_ns, found.st_size)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against every other process and thread; waits for it.

        The kernel lets go of it when the process dies: no lock file is ever left behind locked.
        """
        fd = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | _NO_LINK, _FILE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            # Said aloud: a child forked meanwhile has the descriptor too, and would keep the lock.
            fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    def _check(self) -> None:
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            raise ConfigError(str(self.path), "is gone", "Restore it from escrow.") from None
        _check(self.path, found, is_folder=True)

    def _sync(self) -> None:
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _check(path: Path, found: os.stat_result, *, is_folder: bool) -> None:
    right_kind = stat.S_ISDIR(found.st_mode) if is_folder else stat.S_ISREG(found.st_mode)
    if not right_kind:
        kind = "folder" if is_folder else "regular file"
        raise ConfigError(str(path), f"is no {kind}", f"Name a {kind}, no link.")
    if found.st_uid != os.geteuid():
        raise ConfigError(str(path), "belongs to another user", "Run: chown it to the app's user.")
    if found.st_mode & _OTHERS:
        mode, wanted = stat.S_IMODE(found.st_mode), _FOLDER if is_folder else _FILE
        raise ConfigError(
            str(path),
            f"has mode {mode:04o}, so others may have read the keys",
            f"Run: chmod {wanted:o} on it, and rotate the keys.",
        )
