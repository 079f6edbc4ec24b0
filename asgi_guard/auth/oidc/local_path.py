"""Where a browser may be sent after a login: a path of this site, in its plainest spelling."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["local_path"]

_LONGEST: Final = 1024
# RFC 3986 pchar, "/" and "?"; no backslash, "#", control or non-ASCII character.
_SHAPE: Final = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*")
# What a proxy or router that decodes once more would read as "/", "\", a control or a "%".
_CODED: Final = re.compile(r"%(?:2[fF5]|5[cC]|[01][0-9A-Fa-f]|7[fF])")


def local_path(text: str) -> str | None:
    """Return *text* if it is a path of this site, or None (CWE-601).

    One leading slash, no second one beside it, no backslash (browsers read it as a slash), no dot
    segments, no user information to be misread, and nothing in the path that decodes to one of
    these. The query may hold any percent-encoding.

    Args:
        text: What a stranger's link asked for.
    """
    if len(text) > _LONGEST or not _SHAPE.fullmatch(text):
        return None
    path = text.partition("?")[0]
    if "//" in path or "@" in path or _CODED.search(path):
        return None
    if any(segment in {".", ".."} for segment in _decoded_dots(path).split("/")):
        return None
    return text


def _decoded_dots(path: str) -> str:
    return re.sub("%2[eE]", ".", path)
