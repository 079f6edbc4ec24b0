"""Read JSON with one meaning, or not at all (RFC 8259 section 4, RFC 7515 section 5.2).

Two parsers that disagree about one text are two identities for one token: one takes the first
``sub``, the other the last.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NoReturn

__all__ = ["frozen", "strict_object"]

_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_DEEPEST: Final = 32  # levels; a nested authorization_details (RFC 9396) needs about six


def strict_object(text: bytes) -> dict[str, Any] | None:
    """Return the JSON object that *text* is, or None.

    None is for what is no UTF-8, no JSON or no object, names a member twice at any level, is
    nested deeper than 32 levels, holds a number that is not finite, ``1e999`` included, or half a
    surrogate pair (RFC 7493 section 2.1), which no database, header or hash would take.
    """
    value: Any = None
    try:
        value = _DECODER.decode(text.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    # Fewer brackets than levels cannot be too deep, and that is quickly counted.
    if text.count(b"{") + text.count(b"[") > _DEEPEST and _depth_exceeds(value, _DEEPEST):
        return None
    if _SURROGATE.search(text) and not _is_unicode(value):
        return None
    return value


def frozen(value: Any) -> Any:
    """Return JSON *value* with objects as read-only mappings and arrays as tuples.

    Verified claims are shared by all requests that bring the same token; what one of them could
    change, the next would believe.
    """
    if isinstance(value, dict):
        return MappingProxyType({name: frozen(each) for name, each in value.items()})
    if isinstance(value, list):
        return tuple([frozen(each) for each in value])
    return value


def _depth_exceeds(value: Any, levels: int) -> bool:
    if not isinstance(value, Mapping | list):
        return False
    if levels == 0:
        return True
    inner = value.values() if isinstance(value, Mapping) else value
    return any(_depth_exceeds(each, levels - 1) for each in inner)


def _is_unicode(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is named twice")
    return members


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("the number is not finite")
    return number


def _no_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


# Built once: json.loads() with hooks builds a decoder per call.
_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_named_once, parse_float=_finite, parse_constant=_no_constant
)
