"""Buffers for keys and tokens that are overwritten after use, as far as Python lets them be.

Strings and bytes stay in memory until something else is written over them: in a core dump, in
swap, in the memory of whoever may trace the process. A `bytearray` can be overwritten. Best
effort: what a library copies on its way is out of reach.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

__all__ = ["dispose", "keep_from_dumps", "keep_from_swap", "random_buffer", "scratch", "wipe"]

_RANDOM = "/dev/urandom"
_PR_SET_DUMPABLE = 4


def wipe(buffer: bytearray) -> None:
    """Overwrite *buffer* with zeros, in place."""
    if buffer:
        ctypes.memset(_address(buffer), 0, len(buffer))


def keep_from_swap(buffer: bytearray) -> None:
    """Lock *buffer* into memory (mlock), where this user may; else do nothing.

    Limits for unprivileged users are small (``ulimit -l``): it works all the same.
    """
    if buffer and (libc := _libc()) is not None:
        libc.mlock(ctypes.c_void_p(_address(buffer)), ctypes.c_size_t(len(buffer)))


def keep_from_dumps() -> None:
    """Leave no core dump of this process, and let no other of this user read its memory.

    For a program that is its user's own: debuggers cannot attach any more. Linux (``prctl``); else
    only the limit on core files is set, where there is one.
    """
    with suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 - not on every system

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if (libc := _libc()) is not None and hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def dispose(buffer: bytearray) -> None:
    """Overwrite *buffer*, and let go of its lock."""
    wipe(buffer)
    if buffer and (libc := _libc()) is not None:
        libc.munlock(ctypes.c_void_p(_address(buffer)), ctypes.c_size_t(len(buffer)))


@contextmanager
def scratch(buffer: bytearray) -> Iterator[bytearray]:
    """Keep *buffer* out of swap for the block, and overwrite it at the end."""
    keep_from_swap(buffer)
    try:
        yield buffer
    finally:
        dispose(buffer)


def random_buffer(size: int) -> bytearray:
    """Return *size* random bytes of the kernel, of which no other copy was made."""
    buffer = bytearray(size)
    with suppress(FileNotFoundError):  # a root folder without /dev
        fd = os.open(_RANDOM, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.readv(fd, [buffer]) == size:
                return buffer
        finally:
            os.close(fd)
    buffer[:] = os.urandom(size)
    return buffer


def _address(buffer: bytearray) -> int:
    return ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))


@lru_cache(maxsize=1)
def _libc() -> Any:
    try:
        library = ctypes.CDLL(None, use_errno=True)
        library.mlock, library.munlock  # noqa: B018 - looked up now, or it is not there
    except (OSError, AttributeError):
        return None
    return library
