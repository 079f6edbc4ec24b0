"""Characters that look like others: what a reviewer reads must be what the compiler reads."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

__all__ = ["letter_problems"]

_UNLIKE_LATIN = ("CJK UNIFIED IDEOGRAPH", "HIRAGANA LETTER", "KATAKANA LETTER", "HANGUL SYLLABLE")


def letter_problems(files: Iterable[tuple[str, str]]) -> list[str]:
    """Report invisible characters, odd spaces, and letters of other scripts.

    They make a text read otherwise than it runs (CVE-2021-42574, CVE-2021-42694). A Latin letter
    with a mark over it is no disguise, nor is a Chinese character; punctuation is the linter's
    matter. Write the others as escapes: an attack in a test is then seen for what it is.
    """
    return [
        f"{path}:{number}: {unicodedata.name(char, 'unnamed')} (U+{ord(char):04X})"
        for path, text in files
        if not text.isascii()
        for number, line in enumerate(text.splitlines(), start=1)
        for char in line
        if not char.isascii() and _is_disguise(char)
    ]


def _is_disguise(char: str) -> bool:
    kind, name = unicodedata.category(char)[0], unicodedata.name(char, "")
    if kind in "LMN":
        plain = unicodedata.normalize("NFD", char)[0]
        is_marked_latin = plain.isascii() and name.startswith("LATIN")
        return not (is_marked_latin or name.startswith(_UNLIKE_LATIN))
    return kind in "CZ"
