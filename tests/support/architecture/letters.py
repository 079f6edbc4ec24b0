"""Characters that look like others: what a reviewer reads must be what the compiler reads."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

__all__ = ["letter_problems"]


def letter_problems(files: Iterable[tuple[str, str]]) -> list[str]:
    """Report invisible characters, odd spaces, and letters of other scripts.

    They make a text read otherwise than it runs (CVE-2021-42574, CVE-2021-42694). A Latin letter
    with a mark over it is no disguise; punctuation is the linter's matter. Write the others as
    escapes: an attack in a test is then seen for what it is.
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
    if unicodedata.category(char)[0] in "LMN":
        plain = unicodedata.normalize("NFD", char)[0]
        return not (plain.isascii() and unicodedata.name(char, "").startswith("LATIN"))
    return unicodedata.category(char)[0] in "CZ"
