"""DataKey: the random key of one tenant, from which every version of a secret gets its own.

AES-GCM with random nonces may seal 2**32 messages per key (NIST SP 800-38D section 8.3). A key
that is derived for one version of one slot seals as many as there were attempts to write that
very version, which is one, or a few when writers race: the bound is out of reach.
"""

from __future__ import annotations

import os
from typing import Final, NoReturn

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from asgi_guard.errors import ConfigError
from asgi_guard.vault.slot import Slot, length_prefixed

__all__ = ["KEY_BYTES", "KEY_ID_BYTES", "DataKey", "derive", "new_data_key"]

KEY_BYTES: Final = 32  # AES-256
KEY_ID_BYTES: Final = 8
_ID_INFO: Final = b"asgi-guard.vault.key-id.v1"
_ROW_INFO: Final = b"asgi-guard.vault.row.v1"


def derive(key: bytes, *info: bytes, length: int = KEY_BYTES) -> bytes:
    """Return *length* bytes of HKDF-SHA256 over a uniformly random *key* (RFC 5869).

    Args:
        key: 32 random bytes; such a key needs no salt (RFC 5869 section 3.1).
        info: What the result is for; length-prefixed, so that no two lists are one.
        length: Bytes wanted.
    """
    return HKDF(SHA256(), length, salt=None, info=length_prefixed(*info)).derive(key)


class DataKey:
    """A tenant's data key; it shows itself to nobody but the envelope.

    Args:
        key: 32 random bytes.

    Raises:
        ConfigError: *key* has another length.
    """

    __slots__ = ("__key", "key_id")

    def __init__(self, key: bytes) -> None:
        if type(key) is not bytes or len(key) != KEY_BYTES:
            raise ConfigError("DataKey", "is not 32 bytes", "Use new_data_key().")
        self.__key = key
        self.key_id = derive(key, _ID_INFO, length=KEY_ID_BYTES)
        """Which key this is: derived from it, so that a name never stands for two keys."""

    def reveal(self) -> bytes:
        """Return the key itself, for whoever wraps it."""
        return self.__key

    def row_key(self, slot: Slot, version: int) -> bytes:
        """Return the key of one version of one slot."""
        return derive(self.__key, _ROW_INFO, *slot.encoded(), version.to_bytes(8, "big"))

    def __repr__(self) -> str:
        return "DataKey('**********')"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a DataKey is not serialised; wrap it")


def new_data_key() -> DataKey:
    """Return a fresh random key."""
    return DataKey(os.urandom(KEY_BYTES))
