"""Finding: one way in which a deployment's row-level security is not real, and its mend."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from asgi_guard.errors import NotReadyError
from asgi_guard.rls.catalog.codes import CODES, Severity

__all__ = ["Finding", "make", "raise_on_findings", "script"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One departure from the promise.

    Args:
        code: Stable name, e.g. ``"rls_not_forced"``; see ``docs/catalog-audit.md``.
        object: What it is about: a role, or an object's qualified name.
        severity: ``"error"`` keeps the app from starting; ``"warning"`` is told.
        why: What somebody could do with it, one or two sentences.
        remedy_sql: What an administrator runs, statements ended by semicolons; a comment alone
            where SQL cannot mend it.
    """

    code: str
    object: str
    severity: Severity
    why: str
    remedy_sql: str

    def __str__(self) -> str:
        """Return the finding as an operator's log shows it."""
        mend = "\n".join(f"    {line}" for line in self.remedy_sql.splitlines())
        return f"[{self.severity}] {self.code}: {self.object}: {self.why}\n{mend}"


def make(
    code: str, named: object, why: str, remedy: str, *, severity: Severity | None = None
) -> Finding:
    """Build a finding; *severity* is the code's own unless given.

    Raises:
        KeyError: There is no such code.
    """
    known = CODES[code]
    return Finding(
        code=code,
        object=str(named),
        severity=severity or known.severity,
        why=why,
        remedy_sql=remedy,
    )


def script(statements: Iterable[str]) -> str:
    """Return *statements* as one text, each ended by a semicolon."""
    return "\n".join(f"{statement};" for statement in statements)


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
