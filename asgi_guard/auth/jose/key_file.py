"""The one file that holds a key ring: keys, times and names together, so that none is torn off."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from asgi_guard._internal.owner_files import OwnerFolder
from asgi_guard.auth.jose.key_ring import KeyRing, RingKey
from asgi_guard.auth.jose.signing_key import SigningKey
from asgi_guard.auth.jose.strict_json import strict_object
from asgi_guard.errors import ConfigError

__all__ = ["FolderKeyStore", "KeyStore", "RingCodec"]

_FORMAT: Final = 1
_NAME: Final = "keys.json"
_LONGEST: Final = 1 << 20
_MEMBERS: Final = {"algorithm", "created", "kid", "pem", "signs_from"}
_LATEST: Final = 2**53


@runtime_checkable
class KeyStore(Protocol):
    """Where a key ring is kept. Every method may block; all are called in a thread."""

    def read(self) -> bytes | None:
        """Return what was written last, whole; None if nothing was."""

    def write(self, content: bytes) -> None:
        """Replace it at once; the lock is held."""

    def stamp(self) -> object:
        """Return a value that differs after each `write` of anybody; cheap."""

    def locked(self) -> AbstractContextManager[None]:
        """Exclude every other process and thread."""


class FolderKeyStore:
    """A file of mode 0600 in a folder of mode 0700.

    Args:
        path: The folder; made when it is first used.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path

    def read(self) -> bytes | None:
        """Return the file's content, or None.

        Raises:
            ConfigError: File or folder are open to others, another user's, or links.
        """
        return self._folder().read(_NAME, limit=_LONGEST)

    def write(self, content: bytes) -> None:
        """Replace the file."""
        self._folder().replace(_NAME, content)

    def stamp(self) -> object:
        """Return inode, time and size."""
        return self._folder().stamp(_NAME)

    def locked(self) -> AbstractContextManager[None]:
        """Hold the folder's lock (``flock``)."""
        return self._folder().locked()

    def _folder(self) -> OwnerFolder:
        return OwnerFolder(self._path)


class RingCodec:
    """Write key rings as text and read them back; a PEM that was parsed is not parsed again."""

    def __init__(self) -> None:
        self._parsed: dict[str, SigningKey] = {}

    def encode(self, ring: KeyRing) -> bytes:
        """Return *ring* as JSON, with the private keys in plain text."""
        keys = [
            {
                "algorithm": each.key.algorithm,
                "created": each.created,
                "kid": each.kid,
                "pem": self._remembered(each.key),
                "signs_from": each.signs_from,
            }
            for each in ring.keys
        ]
        document = {"format": _FORMAT, "keys": keys, "revoked": dict(ring.revoked)}
        return json.dumps(document, indent=1).encode() + b"\n"

    def decode(self, content: bytes) -> KeyRing:
        """Return the ring that `encode` wrote.

        Raises:
            ConfigError: It is damaged, of another format, or a key is not the one it is called.
        """
        document = strict_object(content)
        if document is None or document.get("format") != _FORMAT:
            raise _damaged("is no key file of format 1")
        keys, revoked = document.get("keys"), document.get("revoked")
        if not isinstance(keys, list) or not isinstance(revoked, dict):
            raise _damaged("lacks its members")
        if not all(_is_time(each) for each in revoked.values()):
            raise _damaged("has a malformed revocation")
        ring = KeyRing(tuple(self._key(each) for each in keys), revoked)
        names = [each.kid for each in ring.keys]
        if len(set(names)) != len(names) or not set(names).isdisjoint(revoked):
            raise _damaged("holds a key twice, or one that was revoked")
        return ring

    def _key(self, entry: Any) -> RingKey:
        if not isinstance(entry, dict) or set(entry) != _MEMBERS:
            raise _damaged("has an entry that is no key")
        if not _is_time(entry["created"]) or not _is_time(entry["signs_from"]):
            raise _damaged("has a malformed time")
        key = self._parsed_once(entry)
        if key.kid != entry["kid"]:  # RFC 7638: the name is computed from the key
            raise _damaged("has a key under another's kid")
        return RingKey(key=key, created=entry["created"], signs_from=entry["signs_from"])

    def _parsed_once(self, entry: Mapping[str, Any]) -> SigningKey:
        pem, algorithm = entry["pem"], entry["algorithm"]
        if not isinstance(pem, str) or not isinstance(algorithm, str):
            raise _damaged("has an entry that is no key")
        name = _fingerprint(pem, algorithm)
        if name not in self._parsed:
            self._parsed[name] = SigningKey(pem, algorithm=algorithm)
        return self._parsed[name]

    def _remembered(self, key: SigningKey) -> str:
        pem = key.pem().reveal()
        self._parsed.setdefault(_fingerprint(pem, key.algorithm), key)
        return pem


def _fingerprint(pem: str, algorithm: str) -> str:
    return sha256(f"{algorithm}\n{pem}".encode("utf-8", "surrogatepass")).hexdigest()


def _is_time(value: object) -> bool:
    return type(value) in {int, float} and 0 <= value < _LATEST  # type: ignore[operator]


def _damaged(problem: str) -> ConfigError:
    return ConfigError(_NAME, problem, "Restore it from escrow: asgi-guard keys restore.")
