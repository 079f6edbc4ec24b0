"""What in a statement's text is code: comments and quoted text are taken out.

Reads as PostgreSQL's own scanner does (manual, section 4.1), where reading otherwise could hide a
statement inside what looks quoted. Text that is never closed reaches to the end, and is read
once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["statements_of", "without_comments"]

# Any character above ASCII may be part of a name or of a dollar quote's tag; a dollar sign may
# stand inside a name, and then begins no quote.
_NAME: Final = r"[A-Za-z_\u0080-\U0010ffff]"
_REST: Final = r"[A-Za-z0-9_\u0080-\U0010ffff]"
_BEGINNING: Final = re.compile(
    rf"""(?P<line>--[^\n\r]*)
      | (?P<block>/\*)
      | (?P<quoted>(?<!{_REST}|\$)[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)
                  |'(?:[^']|'')*(?:'|\Z)
                  |"(?:[^"]|"")*(?:"|\Z))
      | (?<!{_REST}|\$)(?P<tag>\$(?:{_NAME}{_REST}*)?\$)""",
    re.VERBOSE | re.DOTALL,
)
_BLOCK_EDGE: Final = re.compile(r"/\*|\*/")


def without_comments(text: str) -> str:
    """Replace each comment by a blank, and leave quoted text."""
    return "".join(" " if kind == "comment" else piece for kind, piece in _pieces(text))


def statements_of(text: str) -> list[str]:
    """Split *text* into its statements, comments and quoted text blanked out; no empty ones."""
    blanks = {"comment": " ", "quoted": "''"}
    blanked = "".join(blanks.get(kind, piece) for kind, piece in _pieces(text))
    return [stripped for part in blanked.split(";") if (stripped := part.strip())]


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """Cut *text* into ``code``, ``comment`` and ``quoted``."""
    place = 0
    while found := _BEGINNING.search(text, place):
        yield "code", text[place : found.start()]
        kind, place = _end(text, found)
        yield kind, text[found.start() : place]
    yield "code", text[place:]


def _end(text: str, found: re.Match[str]) -> tuple[str, int]:
    """Tell what began at *found*, and where it ends."""
    if found["quoted"] is not None:
        return "quoted", found.end()
    if (tag := found["tag"]) is not None:
        closing = text.find(tag, found.end())
        return "quoted", len(text) if closing < 0 else closing + len(tag)
    if found["line"] is not None:
        return "comment", found.end()
    depth = 1  # block comments nest
    for edge in _BLOCK_EDGE.finditer(text, found.end()):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return "comment", edge.end()
    return "comment", len(text)
