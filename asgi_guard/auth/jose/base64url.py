"""base64url without padding, in its one canonical spelling (RFC 7515 appendix C)."""

from __future__ import annotations

import base64
import binascii

__all__ = ["b64url_decode", "b64url_encode"]


def b64url_encode(data: bytes) -> bytes:
    """Return *data* in base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def b64url_decode(text: bytes) -> bytes | None:
    """Return the bytes that *text* spells, or None if it is not their canonical spelling.

    Padding, characters of another alphabet, and set bits that are not used would give one value
    several spellings (RFC 4648 section 3.5), and so one token several hashes.
    """
    try:
        data = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    return data if b64url_encode(data) == text else None
