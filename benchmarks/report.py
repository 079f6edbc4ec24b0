"""Write ``benchmarks/README.md``: the template's prose with the figures of ``results/`` in it.

    python benchmarks/report.py

The tables are made, never edited, so that the page cannot say more than was measured; a test
compares the two.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = HERE / "README.md"


def render() -> str:
    """Return the whole page."""
    template = (HERE / "README.template.md").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: _results(found[1]), template)


def _results(name: str) -> str:
    figures = json.loads((HERE / "results" / f"{name}.json").read_text(encoding="utf-8"))
    tables = figures.get("tables") or {"": figures["rows"]}
    parts = [part for title, rows in tables.items() for part in _table(title, rows)]
    machine = figures["machine"]
    parts.append(
        f"<sub>commit {machine['commit']}, Python {machine['python']}, {machine['system']} "
        f"{machine['architecture']}, {machine['cores']} cores</sub>"
    )
    return "\n".join(parts)


def _table(title: str, rows: list[dict[str, Any]] | dict[str, Any]) -> Iterator[str]:
    if title:
        yield f"**{title}**\n"
    rows = [rows] if isinstance(rows, dict) else rows
    if "ratio" in rows[0]:
        yield "| | ratio | middle half | promised |\n|---|---:|---|---|"
        yield from (_ratio(row) for row in rows)
    else:
        yield from (_facts(row) for row in rows)
    yield ""


def _ratio(row: dict[str, Any]) -> str:
    low, high = row["ratio_middle_half"]
    who = " / ".join(filter(None, (row.get("case"), row.get("contender", row.get("name")))))
    return f"| {who} | {row['ratio']} | {low} to {high} | {_promise(row)} |"


def _facts(row: dict[str, Any]) -> str:
    return "- " + ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in row.items())


def _promise(row: dict[str, Any]) -> str:
    if row.get("limit") is None:
        return ""
    verdict = "holds" if row["holds"] else "**fails**"
    if "share_of_transaction" in row:
        return f"{row['share_of_transaction']:.2%} of a transaction, at most 1 %: {verdict}"
    return f"at most {row['limit']}: {verdict}"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    sys.stdout.write(f"{PAGE.name} written\n")
