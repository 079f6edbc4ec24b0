"""Keys of HMAC-SHA-256 that an app makes once and rotates: their text, their ids, their ring."""

from __future__ import annotations

import binascii
import hashlib
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

from asgi_guard._internal.private_files import create_private, read_private
from asgi_guard.errors import ConfigError

__all__ = ["KEY_ID_LENGTH", "HmacKey", "HmacKeys"]

KEY_ID_LENGTH: Final = 8
_SECRET_BYTES: Final = 32
_FILE_LIMIT: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class HmacKey:
    """One key of HMAC-SHA-256 (RFC 2104). Each purpose has a class of its own.

    Args:
        secret: 32 random bytes.

    Raises:
        ConfigError: *secret* has another length.
    """

    prefix: ClassVar[str]
    """Begins the key's text, so that nobody uses one purpose's key for another."""
    purpose: ClassVar[str]
    """Word for messages, and part of the key id."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse anything that is not a whole key."""
        if not isinstance(self.secret, bytes) or len(self.secret) != _SECRET_BYTES:
            name = type(self).__name__
            raise ConfigError(
                f"{name}.secret", f"is not {_SECRET_BYTES} bytes", f"Use {name}.generate()."
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
            secret = urlsafe_b64decode(text.strip().removeprefix(cls.prefix) + "=")
        except (binascii.Error, ValueError):
            secret = b""
        if not text.strip().startswith(cls.prefix) or len(secret) != _SECRET_BYTES:
            raise ConfigError(
                f"{cls.purpose} key",
                "is not one",
                f"A key is {cls.prefix!r} and 43 characters of base64url.",
            )
        return cls(secret)

    def export(self) -> str:
        """Return the key as text. It is a secret: keep it where passwords are kept."""
        return self.prefix + urlsafe_b64encode(self.secret).decode().rstrip("=")

    @property
    def key_id(self) -> str:
        """Which key this is: eight hexadecimal digits, made from the key, that may be shown."""
        named = hashlib.sha256(f"asgi-guard {self.purpose} key id\0".encode() + self.secret)
        return named.hexdigest()[:KEY_ID_LENGTH]


K = TypeVar("K", bound=HmacKey)


class HmacKeys(Generic[K]):
    """The keys of one app for one purpose, the one that signs first.

    Args:
        keys: One or more; the first signs.

    Raises:
        ConfigError: There is none, or one twice.
    """

    key_type: ClassVar[type[Any]]

    def __init__(self, keys: Iterable[K]) -> None:
        self.keys = tuple(keys)
        name = type(self).__name__
        if not self.keys:
            made = f"{self.key_type.__name__}.generate()"
            raise ConfigError(name, "is empty", f"Pass {made}, and keep it.")
        if len({key.key_id for key in self.keys}) != len(self.keys):
            raise ConfigError(name, "holds one key twice", "Pass each key once.")

    def __repr__(self) -> str:
        """Name the keys without showing them."""
        return f"{type(self).__name__}({', '.join(key.key_id for key in self.keys)})"

    @property
    def signing(self) -> K:
        """Return the key that signs."""
        return self.keys[0]

    def find(self, key_id: str) -> K | None:
        """Return the key called *key_id*, or None."""
        return next((key for key in self.keys if key.key_id == key_id), None)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read keys, one a line, the one that signs first; for a variable of the environment.

        Raises:
            ConfigError: A line is no key, or there is none.
        """
        return cls(cls.key_type.parse(line) for line in text.splitlines() if line.strip())

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
