"""The key that signs checkpoints: Ed25519 (RFC 8032).

A signature and not a MAC, so that an auditor who can verify a log cannot forge one. The public
half is no secret; keep it, and the latest checkpoint, where the log's writer cannot reach.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import stat
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from asgi_guard.errors import ConfigError
from asgi_guard.secret import Secret

__all__ = ["AuditSigningKey", "AuditVerifyKeys"]

_SEED_BYTES: Final = 32
_REMEDY: Final = "Make one with: asgi-guard audit keygen FILE"


class AuditSigningKey:
    """A private key for one log, or for all logs of one service.

    Args:
        seed: 64 hexadecimal digits, the private key of RFC 8032 section 5.1.5.

    Raises:
        ConfigError: *seed* is none; it is not repeated.
    """

    __slots__ = ("_key", "key_id", "public_key")

    def __init__(self, seed: Secret) -> None:
        try:
            raw = bytes.fromhex(seed.reveal().strip())
        except (ValueError, AttributeError):
            raw = b""
        if len(raw) != _SEED_BYTES:
            raise ConfigError("audit_log.signing_key", "is not 64 hexadecimal digits", _REMEDY)
        self._key = Ed25519PrivateKey.from_private_bytes(raw)
        public = self._key.public_key().public_bytes_raw()
        self.public_key = public.hex()
        self.key_id = _key_id(public)

    @classmethod
    def generate(cls) -> Self:
        """Make a new key that lives as long as this object; for tests and throw-away logs."""
        return cls(Secret(secrets.token_hex(_SEED_BYTES)))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Read a key file.

        Raises:
            ConfigError: It cannot be read, others than its owner may read it (anything but mode
                0600 or 0400), or it holds no key.
        """
        try:
            with Path(path).open(encoding="ascii") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                text = file.read(1024)
        except (OSError, ValueError) as error:
            raise ConfigError(
                "audit_log.signing_key", f"{path}: {type(error).__name__}", _REMEDY
            ) from None
        if mode & 0o077:
            raise ConfigError(
                "audit_log.signing_key", f"{path} has mode {mode:04o}", f"Run: chmod 600 {path}"
            )
        return cls(Secret(text))

    @classmethod
    def create_file(cls, path: str | os.PathLike[str]) -> Self:
        """Make a new key in a new file of mode 0600.

        Raises:
            ConfigError: The file is there already, or cannot be made.
        """
        seed = Secret(secrets.token_hex(_SEED_BYTES))
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise ConfigError(
                "audit_log.signing_key", f"{path}: {error.strerror}", "Name a new file."
            ) from None
        with os.fdopen(descriptor, "w") as file:
            file.write(seed.reveal() + "\n")
        return cls(seed)

    def sign(self, message: bytes) -> str:
        """Return the signature of *message* as base64, 88 characters."""
        return base64.b64encode(self._key.sign(message)).decode()

    @property
    def verify_keys(self) -> AuditVerifyKeys:
        """The public half, for a verifier."""
        return AuditVerifyKeys([self.public_key])

    def __repr__(self) -> str:
        return f"AuditSigningKey(key_id={self.key_id!r})"


class AuditVerifyKeys:
    """The public keys whose signatures a verifier believes; several while a key is replaced.

    Args:
        public_keys: Each as 64 hexadecimal digits.

    Raises:
        ConfigError: One is no key, or there is none.
    """

    __slots__ = ("_keys",)

    def __init__(self, public_keys: Iterable[str]) -> None:
        self._keys: dict[str, Ed25519PublicKey] = {}
        for text in (public_keys,) if isinstance(public_keys, str) else public_keys:
            try:
                raw = bytes.fromhex(text.strip())
                self._keys[_key_id(raw)] = Ed25519PublicKey.from_public_bytes(raw)
            except ValueError:
                raise ConfigError(
                    "audit_log.public_keys",
                    "one is not 64 hexadecimal digits",
                    "Pass AuditSigningKey.public_key.",
                ) from None
        if not self._keys:
            raise ConfigError("audit_log.public_keys", "is empty", "Pass at least one.")

    def verify(self, key_id: str, signature: str, message: bytes) -> bool:
        """Tell whether *signature* of *message* was made by the known key *key_id*."""
        key = self._keys.get(key_id)
        if key is None:
            return False
        try:
            key.verify(base64.b64decode(signature, validate=True), message)
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True


def _key_id(public: bytes) -> str:
    return sha256(public).hexdigest()[:16]
