"""Ratios that can be trusted: contenders take turns, and each round is compared with itself.

A machine's speed drifts by more than most differences worth knowing. So the contenders of one
table run in turn, round after round in a shuffled order; each round gives one ratio to the
baseline, and the median of the rounds' ratios is what is reported, with the spread beside it.
"""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

Work = Callable[[int], Awaitable[None]]
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Contender:
    """One row: *work* does the measured thing as often as it is told to.

    ``limit`` is the highest ratio to the baseline that the project promises, if it promises one.
    """

    name: str
    work: Work
    limit: float | None = None


@dataclass(slots=True)
class Row:
    """What was measured of one contender, in microseconds and as ratios to the baseline."""

    name: str
    limit: float | None
    micros: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Return the medians and the middle half's spread."""
        low, _, high = statistics.quantiles(self.ratios, n=4)
        ratio = statistics.median(self.ratios)
        return {
            "name": self.name,
            "median_us": round(statistics.median(self.micros), 1),
            "ratio": round(ratio, 3),
            "ratio_middle_half": [round(low, 3), round(high, 3)],
            "limit": self.limit,
            "holds": None if self.limit is None else ratio <= self.limit,
        }


async def interleave(
    contenders: Sequence[Contender], *, rounds: int, repeat: int, warm_up: int = 2
) -> list[dict[str, Any]]:
    """Run *rounds* rounds of *repeat* operations of each contender; the first is the baseline."""
    rows = [Row(each.name, each.limit) for each in contenders]
    order = list(range(len(contenders)))
    shuffler = random.Random(0)  # noqa: S311 - an order, not a secret
    for number in range(warm_up + rounds):
        shuffler.shuffle(order)
        taken = [0.0] * len(contenders)
        for index in order:
            started = perf_counter()
            await contenders[index].work(repeat)
            taken[index] = (perf_counter() - started) / repeat * 1e6
        if number >= warm_up:
            for row, micros in zip(rows, taken, strict=True):
                row.micros.append(micros)
                row.ratios.append(micros / taken[0])
    return [row.summary() for row in rows]


def print_table(title: str, rows: Sequence[dict[str, Any]]) -> None:
    """Print *rows* as a Markdown table."""
    print(f"\n### {title}\n")
    print("| contender | median, us | ratio | middle half | promised |")
    print("|---|---:|---:|---|---:|")
    for row in rows:
        low, high = row["ratio_middle_half"]
        verdict = {None: "", True: "holds", False: "FAILS"}[row["holds"]]
        limit = "" if row["limit"] is None else f"at most {row['limit']}: {verdict}"
        print(
            f"| {row['name']} | {row['median_us']} | {row['ratio']} | {low} to {high} | {limit} |"
        )


def machine() -> dict[str, Any]:
    """Return what a reader needs to know about where the figures were taken."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - git from the PATH
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "commit": commit or "unknown",
        "python": platform.python_version(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
    }


def save(name: str, tables: dict[str, Any]) -> None:
    """Write *tables* to ``benchmarks/results/<name>.json``."""
    path = ROOT / "benchmarks" / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), "tables": tables}, indent=2) + "\n")
