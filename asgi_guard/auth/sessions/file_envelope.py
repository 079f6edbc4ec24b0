"""The sealed form of one session file: AES-256-GCM, bound to its name, version and key.

====================  =======  ==================================================
Field                 Bytes    Meaning
====================  =======  ==================================================
mark                  4        ``AGSF``
format                1        2; other formats are refused, not guessed at
key id                8        random; which key of the ring
version               8        big-endian; counts the writes of this name
ends at               8        big-endian Unix milliseconds
length                4        of the ciphertext, tag included
nonce                 12       random
ciphertext and tag    16 or    AES-256-GCM (NIST SP 800-38D), 128-bit tag
                      more
====================  =======  ==================================================

The additional authenticated data are the name, behind its length, and the 33 bytes before the
nonce: a file renamed to another's name, or given another end, does not open. Pure.
"""

from __future__ import annotations

import os
import struct
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import GCM

from asgi_guard.auth.sessions.file_memory import wipe
from asgi_guard.errors import AuthenticationError

__all__ = ["KEY_BYTES", "KEY_ID_BYTES", "LONGEST", "Header", "opened", "read_header", "sealed"]

KEY_BYTES: Final = 32
KEY_ID_BYTES: Final = 8
LONGEST: Final = 64 * 1024
"""Bytes of the longest file."""

_MARK: Final = b"AGSF"
_FORMAT: Final = 2
_HEADER: Final = struct.Struct(">4sB8sQQI")
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_BODY: Final = _HEADER.size + _NONCE_BYTES
_DOMAIN: Final = b"asgi-guard.session-file"


class Header(NamedTuple):
    """What a file says of itself; believed only once it has been opened.

    Args:
        key_id: Which key sealed it.
        version: Which write of its name it is.
        ends_at: Unix seconds from which on it is not opened.
    """

    key_id: bytes
    version: int
    ends_at: float


def sealed(plaintext: bytearray, *, key: bytearray, name: str, header: Header) -> bytes:
    """Encrypt *plaintext* for one version of *name*; the buffers are the caller's to wipe."""
    head = _HEADER.pack(
        _MARK,
        _FORMAT,
        header.key_id,
        header.version,
        round(header.ends_at * 1000),
        len(plaintext) + _TAG_BYTES,
    )
    nonce = os.urandom(_NONCE_BYTES)
    encryptor = Cipher(AES256(key), GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(_associated(name, head))
    ciphertext = encryptor.update(plaintext) + encryptor.finalize()
    return head + nonce + ciphertext + encryptor.tag


def read_header(content: bytes) -> Header:
    """Take a file apart without opening it.

    Raises:
        AuthenticationError: ``session_file_torn``: it ends early, or goes on after its end;
            ``session_file_format``: it is none, or of a release that wrote another format.
    """
    if content[: len(_MARK)] != _MARK[: len(content)]:
        raise AuthenticationError("session_file_format")
    if len(content) > len(_MARK) and content[len(_MARK)] != _FORMAT:
        raise AuthenticationError("session_file_format")
    if len(content) < _BODY + _TAG_BYTES:
        raise AuthenticationError("session_file_torn")
    _, _, key_id, version, ends, length = _HEADER.unpack_from(content)
    if len(content) != _BODY + length:
        raise AuthenticationError("session_file_torn")
    return Header(key_id, version, ends / 1000)


def opened(content: bytes, *, key: bytearray, name: str) -> bytearray:
    """Decrypt a file whose header was read, into a buffer that the caller wipes.

    Raises:
        AuthenticationError: ``session_file_altered``: a bit was changed, or it is another's.
    """
    head, tag = content[: _HEADER.size], content[-_TAG_BYTES:]
    nonce, ciphertext = content[_HEADER.size : _BODY], content[_BODY:-_TAG_BYTES]
    # update_into asks for room for one block more.
    plaintext = bytearray(len(ciphertext) + 15)
    decryptor = Cipher(AES256(key), GCM(nonce)).decryptor()
    decryptor.authenticate_additional_data(_associated(name, head))
    decryptor.update_into(ciphertext, plaintext)
    try:
        decryptor.finalize_with_tag(tag)
    except InvalidTag:
        wipe(plaintext)  # nothing of what was not authenticated is let out
        plaintext = bytearray()
    if not plaintext:
        raise AuthenticationError("session_file_altered")
    return plaintext


def _associated(name: str, head: bytes) -> bytes:
    encoded = name.encode()
    return _DOMAIN + len(encoded).to_bytes(2, "big") + encoded + head
