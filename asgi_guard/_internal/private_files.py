"""Files that only their owner may read: opened without following links, replaced whole.

A key file that others can read is no secret; one that others can write, or a link that they can
turn, lets them choose the key. Blocking: call it from a thread.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from asgi_guard.errors import ConfigError

__all__ = [
    "check_private_folder",
    "create_private",
    "locked",
    "private_folder",
    "read_private",
    "read_private_buffer",
    "replace_private",
]

_OTHERS: Final = 0o077
_PRIVATE_FILE: Final = 0o600
_PRIVATE_FOLDER: Final = 0o700
_NO_LINK: Final = os.O_NOFOLLOW | os.O_CLOEXEC


def read_private(path: Path, *, limit: int) -> bytes:
    """Return the content of a file of mode 0600 or narrower that belongs to this process's user.

    Args:
        path: The file itself; a symbolic link is refused, whatever it points to.
        limit: Most bytes accepted.

    Raises:
        ConfigError: It is a link, no regular file, another user's, open to others, or too long.
        FileNotFoundError: There is no such file.
    """
    fd = _open(path)
    try:
        _check_owner(path, os.fstat(fd), regular=True)  # of what was opened, not of the name
        content = _read_up_to(fd, limit + 1)
    finally:
        os.close(fd)
    if len(content) > limit:
        raise ConfigError(str(path), f"has more than {limit} bytes", "Is it the right file?")
    return content


def read_private_buffer(path: Path, *, limit: int) -> bytearray:
    """As `read_private`, into a buffer that the caller can overwrite; no other copy is made.

    Raises:
        ConfigError: As there.
        FileNotFoundError: There is no such file.
    """
    fd = _open(path)
    try:
        found = os.fstat(fd)
        _check_owner(path, found, regular=True)
        if found.st_size > limit:
            raise ConfigError(str(path), f"has more than {limit} bytes", "Is it the right file?")
        content = bytearray(found.st_size)
        del content[os.readv(fd, [content]) :]
    finally:
        os.close(fd)
    return content


def create_private(path: Path, content: bytes | bytearray) -> None:
    """Write a new file of mode 0600, and see it onto the disk.

    Raises:
        FileExistsError: There is one already: a key that is overwritten is lost.
    """
    _write(path, content, os.O_EXCL)
    _sync_folder(path.parent)


def replace_private(path: Path, content: bytes | bytearray) -> None:
    """Put *content* in the file's place at once: a reader sees the old or the new, whole.

    Temporary file, ``fsync``, ``rename``, ``fsync`` of the folder; a crash at any point leaves
    one of the two. The caller holds the lock, so the temporary name is its own.
    """
    beside = path.with_name(path.name + ".new")
    _write(beside, content, os.O_TRUNC)
    beside.replace(path)
    _sync_folder(path.parent)


def private_folder(path: Path) -> Path:
    """Make *path* a folder of mode 0700, or check the one that is there.

    Folders above it that are missing are made alike (XDG Base Directory), whatever the umask:
    whoever may write there could put another in this one's place.

    Raises:
        ConfigError: It is a link, no folder, another user's, or open to others.
    """
    for above in reversed(path.parents):
        if not above.is_dir():
            with suppress(FileExistsError):
                above.mkdir(mode=_PRIVATE_FOLDER)
    try:
        path.mkdir(mode=_PRIVATE_FOLDER)
    except FileExistsError:
        check_private_folder(path)
    return path


def check_private_folder(path: Path) -> None:
    """Refuse a folder that is not this process's user's own.

    Wider permissions are refused and not mended, for somebody may have looked already.

    Raises:
        ConfigError: It is gone, a link, no folder, another user's, or open to others.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        raise ConfigError(str(path), "is gone", "Restore it.") from None
    _check_owner(path, found, regular=False)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file *path* against every other process and thread; waits for it.

    The kernel lets go of it when the process dies (``flock``, not a file that stays behind).
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINK, _PRIVATE_FILE)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        # Said aloud: a child forked meanwhile has the descriptor too, and would keep the lock.
        fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)


def _read_up_to(fd: int, most: int) -> bytes:
    content = b""
    while len(content) < most and (piece := os.read(fd, most - len(content))):
        content += piece
    return content


def _open(path: Path) -> int:
    try:
        # Non-blocking: a named pipe in the file's place would hang the start for ever.
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | _NO_LINK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(
            str(path), f"cannot be opened ({error.strerror})", "Name a regular file, no link."
        ) from None


def _check_owner(path: Path, found: os.stat_result, *, regular: bool) -> None:
    is_kind = stat.S_ISREG if regular else stat.S_ISDIR
    wanted = _PRIVATE_FILE if regular else _PRIVATE_FOLDER
    if not is_kind(found.st_mode):
        kind = "regular file" if regular else "folder"
        raise ConfigError(str(path), f"is no {kind}", f"Name a {kind}, no link.")
    if found.st_uid != os.geteuid():
        raise ConfigError(str(path), "belongs to another user", "Run: chown it to the app's user.")
    if found.st_mode & _OTHERS:
        mode = stat.S_IMODE(found.st_mode)
        raise ConfigError(
            str(path),
            f"has mode {mode:04o}, so others may have read the keys",
            f"Run: chmod {wanted:o} on it, and rotate the keys.",
        )


def _write(path: Path, content: bytes | bytearray, flag: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | flag | _NO_LINK, _PRIVATE_FILE)
    try:
        os.fchmod(fd, _PRIVATE_FILE)  # whatever the umask took or a leftover had
        with memoryview(content) as rest:  # no file object: its buffer would keep a copy of keys
            written = 0
            while written < len(rest):
                written += os.write(fd, rest[written:])
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
