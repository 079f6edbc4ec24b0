"""Verifier: find what was done to a log. Pure; readers feed it lines or entries, in order.

====================  ===========================================================================
Kind                  Evidence
====================  ===========================================================================
``altered``           a record does not have its own hash, or a line is in no known spelling
``dropped``           a number is missing in a chain or among checkpoints
``reordered``         a missing record turns up later
``duplicated``        a record or checkpoint is there twice
``forged``            a signature is not by a known key; a chain has a history that nobody signed
``foreign``           a record of another log, or of another tenant than its chain
``truncated``         the end is missing: records that no checkpoint covers, or a log that ends
                      before a checkpoint that is known to exist
====================  ===========================================================================

Order is proven within each chain. Whoever can restore the log *and* every checkpoint that a
verifier knows to an earlier state can pass it off as the present: keep a checkpoint elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from asgi_guard.audit_log.findings import Finding, FindingKind, VerifyReport
from asgi_guard.audit_log.record import (
    AuditRecord,
    Checkpoint,
    Head,
    MalformedLineError,
    genesis,
    parse_line,
)
from asgi_guard.audit_log.signing import AuditVerifyKeys

__all__ = ["Verifier"]

_MOST_FINDINGS: Final = 100
_MOST_MISSING: Final = 10_000


@dataclass(slots=True)
class _Chain:
    """What is known of one chain: its head, what is missing before it, what nobody signed yet."""

    head: Head
    missing: dict[int, Finding] = field(default_factory=dict)
    unsigned_since: str | None = None


class Verifier:
    """Reads one log from its beginning, or from its oldest kept segment.

    Args:
        keys: Whose signatures are believed.
        anchors: Checkpoints known from elsewhere: each must be in the log.
    """

    def __init__(self, keys: AuditVerifyKeys, *, anchors: Iterable[Checkpoint] = ()) -> None:
        self._keys = keys
        self._anchors = list(anchors)
        self._chains: dict[str, _Chain] = {}
        self.findings: list[Finding] = []
        self.latest: Checkpoint | None = None
        self.signed: dict[str, Head] = {}
        self.records = 0
        self.checkpoints = 0
        self._oldest: int | None = None
        self._last_where = "the beginning"

    def feed(self, line: bytes, where: str) -> AuditRecord | Checkpoint | None:
        """Read one line; None when it is neither a record nor a checkpoint."""
        try:
            entry = parse_line(line)
        except MalformedLineError as error:
            self.found("altered", where, f"the line is {error}")
            return None
        self.take(entry, where)
        return entry

    def take(self, entry: AuditRecord | Checkpoint, where: str) -> None:
        """Read one entry."""
        self._last_where = where
        if isinstance(entry, Checkpoint):
            self._take_checkpoint(entry, where)
        else:
            self._take_record(entry, where)

    def finish(self, *, live: bool = False) -> VerifyReport:
        """Judge the end.

        Args:
            live: A writer is at work, so the end may be on its way to being signed.
        """
        if not live:
            for name, chain in self._chains.items():
                if chain.unsigned_since is not None:
                    self.found(
                        "truncated",
                        chain.unsigned_since,
                        "no checkpoint covers what follows",
                        name,
                        chain.head.seq,
                    )
        number = -1 if self.latest is None else self.latest.number
        for anchor in self._anchors:
            if anchor.number > number:
                problem = f"checkpoint {anchor.number} exists, and the log ends at {number}"
                self.found("truncated", self._last_where, problem)
            elif self._oldest is not None and anchor.number < self._oldest:
                problem = f"checkpoint {anchor.number} is known, and the log begins at"
                self.found("dropped", "the beginning", f"{problem} {self._oldest}")
        return VerifyReport(
            self.records,
            self.checkpoints,
            len(self._chains),
            tuple(self.findings),
            self.latest,
        )

    def _take_record(self, record: AuditRecord, where: str) -> None:
        self.records += 1
        if self.latest is None:
            self.found("dropped", where, "the log does not begin with a signed checkpoint")
            self.latest = Checkpoint(
                log=record.log, number=-1, prev="", time="", reason="", full=True, heads={}
            )
        if self._is_foreign(record, where):
            return
        chain = self._chains.setdefault(
            record.chain, _Chain(genesis(self.latest.log, record.chain))
        )
        if record.signature is None and chain.unsigned_since is None:
            chain.unsigned_since = where
        if record.recomputed_hash() != record.hash:
            self.found("altered", where, "it has not its own hash", record.chain, record.seq)
        elif record.signature is not None and not self._keys.verify(
            record.key_id or "", record.signature, record.signed_bytes()
        ):
            self.found("forged", where, "no known key signed it", record.chain, record.seq)
        self._place(chain, record, where)

    def _is_foreign(self, record: AuditRecord, where: str) -> bool:
        if self.latest is not None and record.log != self.latest.log:
            self.found("foreign", where, "it belongs to another log", record.chain, record.seq)
            return True
        tenant = record.fields.get("tenant_id") or ""
        if tenant != record.chain:
            self.found("foreign", where, "it names another tenant", record.chain, record.seq)
            return True
        return False

    def _place(self, chain: _Chain, record: AuditRecord, where: str) -> None:
        """Put *record* after the head of its chain, if that is where it belongs."""
        expected = chain.head.seq + 1
        if record.seq == expected:
            if record.prev != chain.head.hash:
                problem = "it does not follow from the record before it"
                self.found("forged", where, problem, record.chain, record.seq)
        elif record.seq > expected:
            problem = f"expected record {expected}, found {record.seq}"
            finding = self.found("dropped", where, problem, record.chain, expected)
            gap = range(expected, min(record.seq, expected + _MOST_MISSING))
            chain.missing.update(dict.fromkeys(gap, finding))
        elif (gone := chain.missing.pop(record.seq, None)) is not None:
            gone.kind, gone.problem = "reordered", f"record {record.seq} comes after a later one"
            return
        else:
            problem = f"record {record.seq} is there already"
            self.found("duplicated", where, problem, record.chain, record.seq)
            return
        chain.head = record.head

    def _take_checkpoint(self, found: Checkpoint, where: str) -> None:
        self.checkpoints += 1
        if not found.is_signed(self._keys):
            self.found("forged", where, f"no known key signed checkpoint {found.number}")
            return
        self._check_anchors(found, where)
        if self.latest is None:
            self._begin(found, where)
        elif found.log != self.latest.log:
            self.found("foreign", where, "the checkpoint belongs to another log")
            return
        elif found.number <= self.latest.number:
            self.found("duplicated", where, f"checkpoint {found.number} is there already")
            return
        else:
            self._check_succession(found, self.latest, where)
            self._check_heads(found, where)
        self.latest = found
        self.signed.update(found.heads)

    def _begin(self, found: Checkpoint, where: str) -> None:
        if not found.full or (found.number == 0 and found.heads):
            self.found("dropped", where, "the log does not begin with a full checkpoint")
        self._oldest = found.number
        self._chains = {name: _Chain(head) for name, head in found.heads.items()}

    def _check_succession(self, found: Checkpoint, before: Checkpoint, where: str) -> None:
        if found.number != before.number + 1:
            problem = f"expected checkpoint {before.number + 1}, found {found.number}"
            self.found("dropped", where, problem)
        elif found.prev != before.hash and before.number >= 0:
            self.found("forged", where, f"checkpoint {found.number} follows another one")

    def _check_heads(self, found: Checkpoint, where: str) -> None:
        log = found.log
        for name, head in found.heads.items():
            chain = self._chains.setdefault(name, _Chain(genesis(log, name)))
            if head != chain.head:
                self._explain(name, chain, head, where)
            chain.head, chain.unsigned_since = head, None
        for name, chain in self._chains.items():
            if chain.unsigned_since is not None or (found.full and name not in found.heads):
                problem = "the checkpoint after it does not know it"
                place = chain.unsigned_since or where
                self.found("forged", place, problem, name, chain.head.seq)
                chain.unsigned_since = None

    def _explain(self, name: str, chain: _Chain, signed: Head, where: str) -> None:
        if chain.head.seq < signed.seq:
            problem = f"the chain was signed up to record {signed.seq}, and ends at"
            self.found("dropped", where, f"{problem} {chain.head.seq}", name, chain.head.seq + 1)
            return
        place = chain.unsigned_since or where
        self.found("forged", place, "the chain that follows is not the signed one", name, None)

    def _check_anchors(self, found: Checkpoint, where: str) -> None:
        for anchor in self._anchors:
            if anchor.number == found.number and anchor.hash != found.hash:
                self.found("forged", where, f"checkpoint {found.number} is not the known one")

    def found(
        self,
        kind: FindingKind,
        where: str,
        problem: str,
        chain: str | None = None,
        seq: int | None = None,
    ) -> Finding:
        """Note one finding; a reader does when what it reads cannot be fed."""
        finding = Finding(kind, where, problem, chain, seq)
        if len(self.findings) < _MOST_FINDINGS:
            self.findings.append(finding)
        return finding
