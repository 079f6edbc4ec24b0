"""Escrow: a key ring that may leave its machine, sealed under a passphrase.

scrypt (RFC 7914) with 128 MiB makes each guess at the passphrase cost, AES-256-GCM makes a changed
bit a refusal. The parameters are part of the format and not read from the file: a file must not
choose how much memory its reader spends.
"""

from __future__ import annotations

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from asgi_guard.errors import ConfigError
from asgi_guard.secret import Secret

__all__ = ["seal", "unseal"]

_MAGIC: Final = b"asgi-guard key escrow 1\n"
_SALT: Final = 16
_NONCE: Final = 12
_LOG_N: Final = 17  # OWASP Password Storage Cheat Sheet: N=2^17, r=8, p=1
_SHORTEST_PASSPHRASE: Final = 16


def seal(content: bytes, passphrase: Secret) -> bytes:
    """Encrypt *content*; blocking, half a second.

    Raises:
        ConfigError: The passphrase has fewer than 16 characters.
    """
    salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
    sealed = AESGCM(_key(passphrase, salt)).encrypt(nonce, content, _MAGIC)
    return _MAGIC + salt + nonce + sealed


def unseal(blob: bytes, passphrase: Secret) -> bytes:
    """Decrypt what `seal` returned; blocking, half a second.

    Raises:
        ConfigError: The passphrase is another, or the blob was changed or is none.
    """
    body = blob.removeprefix(_MAGIC)
    if body == blob:
        raise ConfigError("escrow", "is no escrow of format 1", "Is it the right file?")
    salt, nonce, sealed = body[:_SALT], body[_SALT : _SALT + _NONCE], body[_SALT + _NONCE :]
    if len(nonce) == _NONCE:
        key = _key(passphrase, salt)
        try:
            return AESGCM(key).decrypt(nonce, sealed, _MAGIC)
        except InvalidTag:
            pass
    raise ConfigError("escrow", "was changed, or the passphrase is another", "Try the right one.")


def _key(passphrase: Secret, salt: bytes) -> bytes:
    text = passphrase.reveal()
    if len(text) < _SHORTEST_PASSPHRASE:
        raise ConfigError(
            "passphrase",
            f"has fewer than {_SHORTEST_PASSPHRASE} characters",
            "Use six random words; it is all that protects the file.",
        )
    kdf = Scrypt(salt=salt, length=32, n=1 << _LOG_N, r=8, p=1)
    return kdf.derive(text.encode("utf-8", "surrogatepass"))
