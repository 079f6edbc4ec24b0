"""The benchmarks page says what was measured, and nothing else."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def _report() -> ModuleType:
    spec = importlib.util.spec_from_file_location("report", BENCHMARKS / "report.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_made_from_the_committed_figures() -> None:
    """An edited table would be a claim that nobody measured; run benchmarks/report.py."""
    report = _report()

    assert report.PAGE.read_text(encoding="utf-8") == report.render()


def test_every_benchmark_is_on_the_page() -> None:
    """A result that is left out is a result that is hidden."""
    shown = set(
        re.findall(
            r"\{\{(\w+)\}\}", (BENCHMARKS / "README.template.md").read_text(encoding="utf-8")
        )
    )

    assert shown == {path.stem for path in (BENCHMARKS / "results").glob("*.json")}
