"""The keys that sign envelopes: held by whoever sends jobs and whoever runs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from asgi_guard._internal.hmac_keys import HmacKey, HmacKeys

__all__ = ["EnvelopeKey", "EnvelopeKeys"]


@dataclass(frozen=True, slots=True)
class EnvelopeKey(HmacKey):
    """One key of HMAC-SHA-256 (RFC 2104).

    Args:
        secret: 32 random bytes.

    Raises:
        ConfigError: *secret* has another length.
    """

    prefix: ClassVar[str] = "envelope1_"
    purpose: ClassVar[str] = "envelope"


class EnvelopeKeys(HmacKeys[EnvelopeKey]):
    """The keys of one app, the one that signs first; all of them open.

    Rotate in three steps: add the new key at the end in every process, then put it first in
    every process, then leave the old one out once its last envelope has ended.

    Args:
        keys: One or more; the first signs.

    Raises:
        ConfigError: There is none, or one twice.
    """

    key_type = EnvelopeKey
