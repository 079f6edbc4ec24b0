"""Finding: one remark about a configuration, for the command line and the doctor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One remark.

    Args:
        level: ``"error"`` would not start; ``"warning"`` weakens; ``"note"`` surprises.
        code: Stable word, e.g. ``"insecure_scheme"``.
        setting: Dotted name of the setting.
        problem: What was found, with the value.
        remedy: What to write instead.
    """

    level: Literal["error", "warning", "note"]
    code: str
    setting: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.level}: {self.setting}: {self.problem}. {self.remedy}"
