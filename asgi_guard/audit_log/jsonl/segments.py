"""The files of a JSON Lines log: numbered segments, the latest checkpoint, a lock.

``audit-00000007.jsonl`` is written; earlier ones are ``.jsonl.gz``. ``audit.head`` is the latest
checkpoint. ``audit.lock`` is held by the one writer. All are of mode 0600 in a folder of 0700.
"""

from __future__ import annotations

import fcntl
import gzip
import os
import re
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from asgi_guard.audit_log.record import Checkpoint, MalformedLineError, parse_line

__all__ = [
    "Segment",
    "compress",
    "create_private",
    "is_written",
    "lines_of",
    "list_segments",
    "lock_path",
    "read_head",
    "segment_path",
    "sync_directory",
    "write_head",
]

_NAME: Final = re.compile(r"audit-(\d{8,12})\.jsonl(\.gz)?")
_LONGEST_LINE: Final = 64 * 1024 * 1024
_PRIVATE: Final = 0o600


class Segment(NamedTuple):
    """One file of the log."""

    number: int
    path: Path

    @property
    def compressed(self) -> bool:
        """Whether it is closed and gzipped."""
        return self.path.suffix == ".gz"


def segment_path(directory: Path, number: int) -> Path:
    """Return where segment *number* is written."""
    return directory / f"audit-{number:08d}.jsonl"


def lock_path(directory: Path) -> Path:
    """Return the file that the writer locks."""
    return directory / "audit.lock"


def list_segments(directory: Path) -> list[Segment]:
    """Return the segments in order; of one that is there plain and gzipped, the plain one."""
    found: dict[int, Segment] = {}
    for path in sorted(directory.iterdir(), reverse=True):  # ".jsonl" comes last, and wins
        if match := _NAME.fullmatch(path.name):
            found[int(match[1])] = Segment(int(match[1]), path)
    return [found[number] for number in sorted(found)]


def lines_of(segment: Segment) -> Generator[bytes, None, None]:
    """Give the lines of *segment*, each with its newline; the last one may lack it.

    Raises:
        OSError, EOFError, zlib.error: It cannot be read, or is no whole gzip file.
    """
    with _opened(segment) as file:
        while line := file.readline(_LONGEST_LINE):
            yield line


def _opened(segment: Segment) -> BinaryIO:
    path = segment.path
    if not segment.compressed:
        try:
            return path.open("rb")
        except FileNotFoundError:  # gzipped since it was listed
            path = path.with_name(path.name + ".gz")
    return gzip.open(path, "rb")  # type: ignore[return-value]  # a GzipFile reads like one


def compress(path: Path) -> None:
    """Replace a closed segment by its gzipped form (RFC 1952); a crash leaves one of the two."""
    target = path.with_name(path.name + ".gz")
    partial = path.with_name(path.name + ".gz.tmp")
    partial.unlink(missing_ok=True)
    with path.open("rb") as source, os.fdopen(create_private(partial), "wb") as raw:
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
            shutil.copyfileobj(source, packed, 1 << 20)
        raw.flush()
        os.fsync(raw.fileno())
    partial.replace(target)
    sync_directory(path.parent)
    path.unlink()


def create_private(path: Path) -> int:
    """Make a new file of mode 0600 whatever the umask, and return its descriptor.

    Raises:
        FileExistsError: There is one; nothing is followed or taken over.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, _PRIVATE)
    os.fchmod(descriptor, _PRIVATE)
    return descriptor


def sync_directory(directory: Path) -> None:
    """Make new and renamed files of *directory* survive a power cut (fsync(2))."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_head(directory: Path) -> Checkpoint | None:
    """Return the latest checkpoint that the writer left beside the log, or None.

    Raises:
        MalformedLineError: There is a file, and it holds none.
    """
    try:
        line = (directory / "audit.head").read_bytes()
    except FileNotFoundError:
        return None
    entry = parse_line(line)
    if not isinstance(entry, Checkpoint):
        raise MalformedLineError("no checkpoint")
    return entry


def write_head(directory: Path, line: bytes) -> None:
    """Replace the latest checkpoint, at once or not at all.

    Not synced: after a power cut it may be older than the log, which is synced before it, and
    never newer.
    """
    partial = directory / "audit.head.tmp"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)
    partial.replace(directory / "audit.head")


def is_written(directory: Path) -> bool:
    """Tell whether a writer holds the log at this moment."""
    try:
        descriptor = os.open(lock_path(directory), os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
