"""What a verifier tells: findings, and the report that holds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from asgi_guard.audit_log.record import Checkpoint

__all__ = ["Finding", "FindingKind", "VerifyReport"]

FindingKind = Literal[
    "altered", "dropped", "duplicated", "foreign", "forged", "reordered", "truncated"
]


@dataclass(slots=True)
class Finding:
    """One thing that is wrong.

    Args:
        kind: What was done.
        where: Line or row, as the reader names it.
        problem: In words, without any content of the record.
        chain: The chain it belongs to, if known.
        seq: The number in the chain, if known.
    """

    kind: FindingKind
    where: str
    problem: str
    chain: str | None = None
    seq: int | None = None

    def __str__(self) -> str:
        place = "" if self.chain is None else f" (chain {self.chain or '-'!s}, record {self.seq})"
        return f"{self.kind} at {self.where}{place}: {self.problem}"


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a verifier found.

    Args:
        records: Records read.
        checkpoints: Checkpoints read.
        chains: Chains with at least one record.
        findings: In the order they were met; at most a hundred.
        latest: The latest checkpoint with a good signature; keep it, as the next run's anchor.
    """

    records: int
    checkpoints: int
    chains: int
    findings: tuple[Finding, ...]
    latest: Checkpoint | None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    @property
    def first(self) -> Finding | None:
        """The first bad one."""
        return self.findings[0] if self.findings else None
