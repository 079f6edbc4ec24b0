"""What a session file holds: plain facts as JSON, and secrets as bytes that are never decoded.

Layout: how many parts (1 byte), then for each its name (length in 1 byte), and its value (length
in 4 bytes, big-endian). The first part, ``about``, is the facts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from asgi_guard.auth.jose.strict_json import strict_object
from asgi_guard.errors import AuthenticationError, ConfigError

__all__ = ["MOST_SECRETS", "Places", "joined", "parsed"]

MOST_SECRETS: Final = 16
_LENGTH_BYTES: Final = 4
Places = dict[str, slice]
"""Where in the buffer each secret is."""


def joined(facts: Mapping[str, Any], secrets: Mapping[str, bytes | bytearray]) -> bytearray:
    """Return the content of a file, in one buffer that the caller wipes.

    Raises:
        ConfigError: There are too many secrets, or a name is none.
    """
    if len(secrets) > MOST_SECRETS:
        raise ConfigError("session.secrets", f"are {len(secrets)}", f"Keep to {MOST_SECRETS}.")
    parts: dict[str, bytes | bytearray] = {"about": json.dumps(facts).encode(), **secrets}
    size = 1 + sum(1 + len(name) + _LENGTH_BYTES + len(value) for name, value in parts.items())
    content = bytearray(size)  # at once: a growing buffer leaves copies behind
    content[0], position = len(parts), 1
    for name, value in parts.items():
        encoded = _checked(name)
        head = bytes([len(encoded)]) + encoded + len(value).to_bytes(_LENGTH_BYTES, "big")
        content[position : position + len(head)] = head
        position += len(head)
        content[position : position + len(value)] = value
        position += len(value)
    return content


def parsed(content: bytearray) -> tuple[dict[str, Any], Places]:
    """Return the facts, and where each secret is.

    Raises:
        AuthenticationError: ``session_file_format``: another release wrote it.
    """
    places: Places = {}
    try:
        position = 1
        for _ in range(content[0]):
            start = position + 1 + content[position]
            name = content[position + 1 : start].decode("ascii")
            size = int.from_bytes(content[start : start + _LENGTH_BYTES], "big")
            start += _LENGTH_BYTES
            position = start + size
            places[name] = slice(start, position)
        about = places.pop("about")
        facts = strict_object(bytes(content[about]))
    except (IndexError, KeyError, UnicodeDecodeError):
        facts = None
    if facts is None or any(place.stop > len(content) for place in places.values()):
        raise AuthenticationError("session_file_format")
    return facts, places


def _checked(name: str) -> bytes:
    if not name.isidentifier() or not name.isascii():
        raise ConfigError("session.secrets", f"{name!r} is no name", "Write e.g. access_token.")
    return name.encode()
