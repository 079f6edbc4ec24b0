"""The envelope of one stored secret: AES-256-GCM, bound to its slot and version.

====================  =======  ==================================================
Field                 Bytes    Meaning
====================  =======  ==================================================
format                1        1
key id                8        which data key; derived from the key
slot binding          32       SHA-256 of tenant, user and provider
version               8        big-endian; counts the writes of the slot
nonce                 12       random
ciphertext and tag    16 or    AES-256-GCM (NIST SP 800-38D), 128-bit tag
                      more
====================  =======  ==================================================

The additional authenticated data are tenant, user, provider and version, each behind its length,
and the 49 bytes before the nonce. So an envelope opens in its own slot and version, and nowhere
else. Pure: bytes in, bytes out.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from asgi_guard.errors import ConfigError, VaultOpenError
from asgi_guard.vault.data_key import KEY_ID_BYTES, DataKey
from asgi_guard.vault.slot import Slot, length_prefixed

__all__ = ["LONGEST", "MAX_VERSION", "Header", "open_envelope", "read_header", "seal"]

FORMAT: Final = 1
MAX_VERSION: Final = 2**63 - 1  # a signed bigint in every store
LONGEST: Final = 64 * 1024
"""Bytes of the longest secret; a store is no place for files."""

_BINDING: Final = slice(1 + KEY_ID_BYTES, 1 + KEY_ID_BYTES + 32)
_VERSION: Final = slice(_BINDING.stop, _BINDING.stop + 8)
_NONCE: Final = slice(_VERSION.stop, _VERSION.stop + 12)
_TAG_BYTES: Final = 16
_DOMAIN: Final = b"asgi-guard.vault.envelope.v1"


@dataclass(frozen=True, slots=True)
class Header:
    """What an envelope says of itself; believed only once it has been opened.

    Args:
        key_id: Which data key sealed it.
        binding: Which slot it belongs to.
        version: Which write of that slot it is.
    """

    key_id: bytes
    binding: bytes
    version: int


def seal(plaintext: bytes, *, key: DataKey, slot: Slot, version: int) -> bytes:
    """Encrypt *plaintext* for one version of one slot.

    Raises:
        ConfigError: It is longer than `LONGEST`, or *version* is not in 1 to 2**63 - 1.
    """
    size = len(plaintext)
    if size > LONGEST:
        del plaintext  # tracebacks may show their frames' locals
        raise ConfigError("vault.secret", f"has {size} bytes", f"Store at most {LONGEST}.")
    if not 1 <= version <= MAX_VERSION:
        raise ConfigError("vault.version", f"is {version}", "Count from 1.")
    header = bytes([FORMAT]) + key.key_id + slot.binding() + version.to_bytes(8, "big")
    nonce = os.urandom(12)
    cipher = AESGCM(key.row_key(slot, version))
    return header + nonce + cipher.encrypt(nonce, plaintext, _authenticated(header, slot, version))


def read_header(envelope: bytes) -> Header:
    """Take an envelope apart without opening it.

    Raises:
        VaultOpenError: ``vault_malformed`` or ``vault_format_unknown``.
    """
    if type(envelope) is not bytes or not envelope:
        raise VaultOpenError("vault_malformed")
    if envelope[0] != FORMAT:
        raise VaultOpenError("vault_format_unknown")
    size = len(envelope)
    if not _NONCE.stop + _TAG_BYTES <= size <= _NONCE.stop + _TAG_BYTES + LONGEST:
        raise VaultOpenError("vault_malformed")
    return Header(
        key_id=envelope[1 : _BINDING.start],
        binding=envelope[_BINDING],
        version=int.from_bytes(envelope[_VERSION], "big"),
    )


def open_envelope(envelope: bytes, *, key: DataKey, slot: Slot, version: int) -> bytes:
    """Decrypt what was sealed for exactly this version of this slot.

    Returns:
        The plaintext.

    Raises:
        VaultOpenError: Its code says why not; whatever the bytes are, nothing else is raised.

    Does not know whether *version* is the newest there ever was: that is for the store's head.
    """
    found = read_header(envelope)
    if found.binding != slot.binding():
        raise VaultOpenError("vault_swapped")
    if found.version != version:
        raise VaultOpenError("vault_rolled_back")
    if found.key_id != key.key_id:
        raise VaultOpenError("vault_wrong_key")
    plaintext = _decrypted(envelope, key, slot, version)
    if plaintext is None:
        raise VaultOpenError("vault_altered")
    return plaintext


def _decrypted(envelope: bytes, key: DataKey, slot: Slot, version: int) -> bytes | None:
    # The error is raised by the caller: no frame of its traceback then holds a key.
    associated = _authenticated(envelope[: _VERSION.stop], slot, version)
    try:
        cipher = AESGCM(key.row_key(slot, version))
        return cipher.decrypt(envelope[_NONCE], envelope[_NONCE.stop :], associated)
    except InvalidTag:
        return None


def _authenticated(header: bytes, slot: Slot, version: int) -> bytes:
    return length_prefixed(_DOMAIN, *slot.encoded(), version.to_bytes(8, "big"), header)
