"""Finding: one way in which a deployment's row-level security is not real, and its mend."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from asgi_guard.errors import NotReadyError

__all__ = ["Finding", "raise_on_findings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One departure from the promise.

    Args:
        code: Stable name, e.g. ``"rls_not_forced"``.
        object: What it is about: a role, or a table's qualified name.
        severity: ``"error"`` keeps the app from starting; ``"warning"`` is told.
        why: What somebody could do with it, one or two sentences.
        remedy_sql: What an administrator runs, statements ended by semicolons; a comment alone
            where SQL cannot mend it.
    """

    code: str
    object: str
    severity: Literal["error", "warning"]
    why: str
    remedy_sql: str

    def __str__(self) -> str:
        """Return the finding as an operator's log shows it."""
        mend = "\n".join(f"    {line}" for line in self.remedy_sql.splitlines())
        return f"[{self.severity}] {self.code}: {self.object}: {self.why}\n{mend}"


def raise_on_findings(findings: Iterable[Finding]) -> None:
    """Refuse to start on any error among *findings*, naming each with its mend.

    Raises:
        NotReadyError: There is one; its ``reason`` is ``"rls_not_real"``.
    """
    errors = [finding for finding in findings if finding.severity == "error"]
    if not errors:
        return
    count = "1 finding" if len(errors) == 1 else f"{len(errors)} findings"
    listed = "\n\n".join(str(finding) for finding in errors)
    raise NotReadyError(
        "rls_not_real",
        f"Row-level security does not hold here: {count}. An administrator runs the SQL below "
        f"each, then start again.\n\n{listed}",
    )
