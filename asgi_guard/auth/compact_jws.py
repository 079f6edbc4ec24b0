"""Read a compact JWS (RFC 7515 section 3.1) strictly: one spelling, one meaning, or a 401.

Two parsers that disagree about one token are two identities for one token. So base64url must be
canonical, JSON must be an object whose members are named once, and numbers must be finite.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any, Final, NamedTuple, NoReturn

from asgi_guard.errors import AuthenticationError

__all__ = ["INVALID_TOKEN", "CompactJWS", "json_object", "parse_compact_jws", "refuse"]

INVALID_TOKEN: Final = ((b"www-authenticate", b'Bearer error="invalid_token"'),)  # RFC 6750, 3.1

_LONGEST_TOKEN: Final = 16 * 1024
_SHAPE: Final = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")


class CompactJWS(NamedTuple):
    """The parts of a token; nothing in it is proven yet."""

    header: dict[str, Any]
    payload: bytes
    signing_input: bytes
    signature: bytes


def refuse(reason: str) -> NoReturn:
    """Refuse a token.

    Raises:
        AuthenticationError: Always. It is raised outside of any ``except`` block, so that no
            decoder's error, which quotes its input, hangs on it.
    """
    raise AuthenticationError(reason, headers=INVALID_TOKEN)


def parse_compact_jws(token: bytes) -> CompactJWS:
    """Take *token* apart.

    Raises:
        AuthenticationError: It is no compact JWS, or longer than 16 KiB.
    """
    if len(token) > _LONGEST_TOKEN:
        refuse("token_too_long")
    found = _SHAPE.fullmatch(token)
    if found is None:
        refuse("token_malformed")
    return CompactJWS(
        header=json_object(_decoded(found[1])),
        payload=_decoded(found[2]),
        signing_input=token[: found.end(2)],
        signature=_decoded(found[3]),
    )


def json_object(text: bytes) -> dict[str, Any]:
    """Return the JSON object that *text* is.

    Raises:
        AuthenticationError: It is something else, nested too deeply, names a member twice, or
            holds a number that is not finite.
    """
    value: Any = None
    try:
        value = json.loads(
            text.decode(), object_pairs_hook=_named_once, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        refuse("token_not_json")
    return value


def _decoded(part: bytes) -> bytes:
    data: bytes | None = None
    try:
        data = base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except binascii.Error:
        data = None
    # Unused trailing bits would give one token several spellings (RFC 4648 section 3.5).
    if data is None or base64.urlsafe_b64encode(data).rstrip(b"=") != part:
        refuse("token_malformed")
    return data


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is named twice")
    return members


def _no_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")
