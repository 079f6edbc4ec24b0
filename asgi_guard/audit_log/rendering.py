"""Records as text, one at a time: JSON Lines, CSV, or columns for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Final, Literal

from asgi_guard.audit_log.record import AuditRecord

__all__ = ["COLUMNS", "AuditFormat", "cells", "render"]

AuditFormat = Literal["json", "csv", "table"]
COLUMNS: Final = (
    "time",
    "name",
    "outcome",
    "reason",
    "tenant_id",
    "user_id",
    "operation",
    "client",
    "request_id",
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_WIDTHS: Final = (27, 26, 8, 24, 36, 20, 20, 15, 32)


async def render(records: AsyncIterator[AuditRecord], *, form: AuditFormat) -> AsyncIterator[str]:
    """Give one line of text after the other, each with its newline.

    Args:
        records: From `AuditLog.read` or a sink.
        form: ``"json"``: one object a line with everything; ``"csv"`` (RFC 4180, with a heading)
            and ``"table"``: the fields of `COLUMNS`.
    """
    line = _LINES[form]
    if form != "json":
        yield line(COLUMNS)
    async for record in records:
        yield line(record) if form == "json" else line(cells(record))


def cells(record: AuditRecord) -> tuple[str, ...]:
    """Return the fields of `COLUMNS` as text; control characters are spelled out."""
    return tuple(_shown(record.fields.get(name)) for name in COLUMNS)


def _json(record: AuditRecord) -> str:
    body = {"seq": record.seq, "hash": record.hash, "event": record.fields}
    return json.dumps(body, sort_keys=True) + "\n"


def _csv(values: Iterable[str]) -> str:
    text = io.StringIO()
    # A spreadsheet would run a cell that begins like a formula (OWASP, CSV injection).
    csv.writer(text).writerow([f"'{v}" if v.startswith(_FORMULA) else v for v in values])
    return text.getvalue()


def _table(values: Iterable[str]) -> str:
    padded = (v[:width].ljust(width) for v, width in zip(values, _WIDTHS, strict=True))
    return "  ".join(padded).rstrip() + "\n"


def _shown(value: object) -> str:
    # A terminal would obey an escape sequence in a user's name.
    text = "" if value is None else str(value)
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


_LINES: Final[dict[AuditFormat, Callable[[Any], str]]] = {
    "json": _json,
    "csv": _csv,
    "table": _table,
}
