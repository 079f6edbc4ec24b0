"""The keys that seal a tenant context: made once, known to the app and to the database's owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from asgi_guard._internal.hmac_keys import KEY_ID_LENGTH, HmacKey, HmacKeys

__all__ = ["KEY_ID_LENGTH", "SealKey", "SealKeys"]

_BLOCK: Final = 64  # of SHA-256, in bytes (RFC 2104 section 2)


@dataclass(frozen=True, slots=True)
class SealKey(HmacKey):
    """One key of HMAC-SHA-256 (RFC 2104).

    Args:
        secret: 32 random bytes.

    Raises:
        ConfigError: *secret* has another length.
    """

    prefix: ClassVar[str] = "seal1_"
    purpose: ClassVar[str] = "seal"

    def pads(self) -> tuple[bytes, bytes]:
        """Return the inner and the outer block of HMAC, as the database keeps them."""
        block = self.secret.ljust(_BLOCK, b"\0")
        return bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)


class SealKeys(HmacKeys[SealKey]):
    """The keys of one app, the one that signs first.

    Rotate in three steps: make the new key known to the database (`seal_key_statements`), put it
    first here in every process, then retire the old one in the database.

    Args:
        keys: One or more; the first signs.

    Raises:
        ConfigError: There is none, or one twice.
    """

    key_type = SealKey
