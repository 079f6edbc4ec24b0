"""A folder of secrets that one user owns: checked when opened, its files replaced whole.

Everything here blocks: call it from a thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from asgi_guard._internal.private_files import (
    check_private_folder,
    locked,
    private_folder,
    read_private,
    replace_private,
)

__all__ = ["OwnerFolder"]

_LOCK: Final = "lock"


class OwnerFolder:
    """Files of mode 0600 in a folder of mode 0700, both of this process's user.

    Args:
        path: The folder; made when it is not there.

    Raises:
        ConfigError: It is a link or no folder, another user's, or open to others.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = private_folder(Path(path))

    def read(self, name: str, *, limit: int) -> bytes | None:
        """Return a file's content, or None if there is no such file.

        Raises:
            ConfigError: It is a link or no regular file, another user's, open to others, or has
                more than *limit* bytes; or the folder is no longer private.
        """
        check_private_folder(self.path)
        try:
            return read_private(self.path / name, limit=limit)
        except FileNotFoundError:
            return None

    def replace(self, name: str, content: bytes | bytearray) -> None:
        """Put *content* in a file's place at once; see `replace_private`. Hold the lock."""
        replace_private(self.path / name, content)

    def stamp(self, name: str) -> tuple[int, int, int] | None:
        """Return what changes whenever a file is replaced, or None if there is none."""
        try:
            found = (self.path / name).lstat()
        except FileNotFoundError:
            return None
        return (found.st_ino, found.st_mtime_ns, found.st_size)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against every other process and thread; waits for it."""
        with locked(self.path / _LOCK):
            yield
