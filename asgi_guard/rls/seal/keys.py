"""The keys that seal a tenant context: made once, known to the app and to the database's owner."""

from __future__ import annotations

import binascii
import hashlib
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from asgi_guard._internal.private_files import create_private, read_private
from asgi_guard.errors import ConfigError

__all__ = ["KEY_ID_LENGTH", "SealKey", "SealKeys"]

KEY_ID_LENGTH: Final = 8
_SECRET_BYTES: Final = 32
_BLOCK: Final = 64  # of SHA-256, in bytes (RFC 2104 section 2)
_FILE_LIMIT: Final = 16 * 1024
_PREFIX: Final = "seal1_"


@dataclass(frozen=True, slots=True)
class SealKey:
    """One key of HMAC-SHA-256 (RFC 2104).

    Args:
        secret: 32 random bytes.

    Raises:
        ConfigError: *secret* has another length.
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse anything that is not a whole key."""
        if not isinstance(self.secret, bytes) or len(self.secret) != _SECRET_BYTES:
            raise ConfigError(
                "SealKey.secret", f"is not {_SECRET_BYTES} bytes", "Use SealKey.generate()."
            )

    @classmethod
    def generate(cls) -> Self:
        """Make a new key."""
        return cls(secrets.token_bytes(_SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `export` wrote.

        Raises:
            ConfigError: It is no such key; the message repeats none of it.
        """
        try:
            secret = urlsafe_b64decode(text.strip().removeprefix(_PREFIX) + "=")
        except (binascii.Error, ValueError):
            secret = b""
        if not text.strip().startswith(_PREFIX) or len(secret) != _SECRET_BYTES:
            raise ConfigError(
                "seal key", "is not one", f"A key is {_PREFIX!r} and 43 characters of base64url."
            )
        return cls(secret)

    def export(self) -> str:
        """Return the key as text. It is a secret: keep it where passwords are kept."""
        return _PREFIX + urlsafe_b64encode(self.secret).decode().rstrip("=")

    @property
    def key_id(self) -> str:
        """Which key this is: eight hexadecimal digits, made from the key, that may be shown."""
        named = hashlib.sha256(b"asgi-guard seal key id\0" + self.secret)
        return named.hexdigest()[:KEY_ID_LENGTH]

    def pads(self) -> tuple[bytes, bytes]:
        """Return the inner and the outer block of HMAC, as the database keeps them."""
        block = self.secret.ljust(_BLOCK, b"\0")
        return bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)


class SealKeys:
    """The keys of one app, the one that signs first.

    Rotate in three steps: make the new key known to the database (`seal_key_statements`), put it
    first here in every process, then retire the old one in the database.

    Args:
        keys: One or more; the first signs.

    Raises:
        ConfigError: There is none, or one twice.
    """

    def __init__(self, keys: Iterable[SealKey]) -> None:
        self.keys = tuple(keys)
        if not self.keys:
            raise ConfigError("SealKeys", "is empty", "Pass SealKey.generate(), and keep it.")
        if len({key.key_id for key in self.keys}) != len(self.keys):
            raise ConfigError("SealKeys", "holds one key twice", "Pass each key once.")

    def __repr__(self) -> str:
        """Name the keys without showing them."""
        return f"SealKeys({', '.join(key.key_id for key in self.keys)})"

    @property
    def signing(self) -> SealKey:
        """Return the key that signs."""
        return self.keys[0]

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read keys, one a line, the one that signs first; for a variable of the environment.

        Raises:
            ConfigError: A line is no key, or there is none.
        """
        return cls(SealKey.parse(line) for line in text.splitlines() if line.strip())

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read keys from a file of mode 0600. Blocking; call it while the app is built.

        Raises:
            ConfigError: It is open to others, a link, or holds no key.
            FileNotFoundError: There is none.
        """
        return cls.from_text(read_private(Path(path), limit=_FILE_LIMIT).decode("ascii", "replace"))

    def to_file(self, path: str | Path) -> None:
        """Write the keys into a new file of mode 0600. Blocking.

        Raises:
            FileExistsError: There is one already.
        """
        lines = "".join(f"{key.export()}\n" for key in self.keys)
        create_private(Path(path), lines.encode())
