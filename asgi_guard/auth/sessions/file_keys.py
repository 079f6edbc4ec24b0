"""FileKeyRing: one key for each session file, destroyed when the session ends.

A file system keeps copies: backups, snapshots, freed blocks. A session file without its key is
noise, so the ring lies in a folder of its own (XDG: data, not state), and whoever opens it takes
out the keys whose sessions have ended. A key seals one file once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from asgi_guard._internal.owner_files import OwnerFolder
from asgi_guard._internal.private_files import check_private_folder, read_private_buffer
from asgi_guard.auth.sessions.file_envelope import KEY_BYTES, KEY_ID_BYTES
from asgi_guard.auth.sessions.file_memory import random_buffer, scratch
from asgi_guard.errors import AuthenticationError, ConfigError

__all__ = ["FileKeyRing"]

_FILE: Final = "keys"
_HEADER: Final = b"AGSK\x01"
_ENTRY: Final = struct.Struct(f">{KEY_ID_BYTES}sQ{KEY_BYTES}s")
_ABOUT: Final = struct.Struct(f">{KEY_ID_BYTES}sQ")  # an entry without its key
_MOST: Final = 256


class FileKeyRing:
    """The keys of a `FileSessionStore`, in one file of mode 0600.

    Args:
        folder: Of mode 0700; hold its lock around each call.
    """

    def __init__(self, folder: OwnerFolder) -> None:
        self.folder = folder

    def make(self, *, ends_at: float, now: float) -> tuple[bytes, bytearray]:
        """Add a key that is destroyed at *ends_at*; return its id, and the key for you to wipe.

        Raises:
            AuthenticationError: The ring cannot be read.
            ConfigError: It holds as many keys as it may, or is not private.
        """
        key_id, key = bytes(random_buffer(KEY_ID_BYTES)), random_buffer(KEY_BYTES)
        with scratch(self._read()) as ring, scratch(_kept(ring, _lasting(now), room=1)) as grown:
            if (len(grown) - len(_HEADER)) // _ENTRY.size > _MOST:
                raise ConfigError("FileSessionStore", f"holds {_MOST} sessions", "Log out of some.")
            place = len(grown) - _ENTRY.size
            _ABOUT.pack_into(grown, place, key_id, round(ends_at * 1000))
            grown[place + _ABOUT.size :] = key
            self.folder.replace(_FILE, grown)
        return key_id, key

    def find(self, key_id: bytes, *, now: float) -> bytearray | None:
        """Return a key, for you to wipe, or None if there is none, or its time is over.

        Raises:
            AuthenticationError: The ring cannot be read.
            ConfigError: It is not private.
        """
        with scratch(self._read()) as ring:
            for place in _places(ring):
                found, ends = _ABOUT.unpack_from(ring, place)
                if found == key_id and ends > now * 1000:
                    with memoryview(ring) as view:
                        return bytearray(view[place + _ABOUT.size : place + _ENTRY.size])
        return None

    def destroy(self, key_id: bytes | None, *, now: float) -> None:
        """Take a key out, and all whose time is over; of a torn ring, all.

        Raises:
            ConfigError: It is not private.
        """

        def keep(found: bytes, ends: int) -> bool:
            return found != key_id and ends > now * 1000

        try:
            ring = self._read()
        except AuthenticationError:
            self.folder.replace(_FILE, _HEADER)
            return
        with scratch(ring), scratch(_kept(ring, keep)) as left:
            if len(left) != len(ring):
                self.folder.replace(_FILE, left)

    def _read(self) -> bytearray:
        check_private_folder(self.folder.path)
        limit = len(_HEADER) + _MOST * _ENTRY.size
        try:
            ring = read_private_buffer(self.folder.path / _FILE, limit=limit)
        except FileNotFoundError:
            return bytearray(_HEADER)
        if ring[: len(_HEADER)] != _HEADER or (len(ring) - len(_HEADER)) % _ENTRY.size:
            raise AuthenticationError("session_keys_torn")
        return ring


def _lasting(now: float) -> Callable[[bytes, int], bool]:
    return lambda _key_id, ends: ends > now * 1000


def _kept(ring: bytearray, keep: Callable[[bytes, int], bool], *, room: int = 0) -> bytearray:
    places = [place for place in _places(ring) if keep(*_ABOUT.unpack_from(ring, place))]
    left = bytearray(len(_HEADER) + (len(places) + room) * _ENTRY.size)
    left[: len(_HEADER)] = _HEADER
    with memoryview(ring) as old, memoryview(left) as new:
        for number, place in enumerate(places):
            start = len(_HEADER) + number * _ENTRY.size
            new[start : start + _ENTRY.size] = old[place : place + _ENTRY.size]
    return left


def _places(ring: bytearray) -> range:
    return range(len(_HEADER), len(ring), _ENTRY.size)
