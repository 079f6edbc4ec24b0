"""Looking for planted values where they must not be: texts, tracebacks with locals, files."""

from __future__ import annotations

import base64
import traceback
from collections.abc import Iterable
from pathlib import Path

__all__ = ["found_in", "rendered", "spellings", "texts_below"]


def spellings(canary: str | bytes) -> list[str]:
    """Give the forms in which a value may show itself."""
    raw = canary.encode() if isinstance(canary, str) else canary
    coded = base64.b64encode(raw).decode().rstrip("=")
    known = [raw.hex(), coded, coded.replace("+", "-").replace("/", "_"), repr(raw)[2:-1]]
    return [*known, canary] if isinstance(canary, str) else known


def found_in(text: str, canaries: Iterable[str | bytes]) -> list[str]:
    """Give every form of every canary that *text* shows."""
    return [form for canary in canaries for form in spellings(canary) if form in text]


def rendered(error: BaseException) -> str:
    """Give *error* as an error reporter does: the whole chain, with the locals of our frames."""
    lines = [repr(error), str(error), repr(error.args), repr(vars(error))]
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        lines.append(f"{type(current).__name__}: {current}")
        for frame, _ in traceback.walk_tb(current.__traceback__):
            if "asgi_guard" in frame.f_code.co_filename:
                lines += [f"{name} = {value!r}" for name, value in frame.f_locals.items()]
        current = current.__cause__ or (
            None if current.__suppress_context__ else current.__context__
        )
    return "\n".join(lines)


def texts_below(folder: Path) -> str:
    """Give the content of every file below *folder*, byte for byte."""
    return "\n".join(
        path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()
    )
