"""Where the chains of one log stand, and what comes next. Pure: holds no file and no connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from asgi_guard.audit_log.record import AuditRecord, Checkpoint, Head, genesis
from asgi_guard.audit_log.signing import AuditSigningKey

__all__ = ["Chains", "Draft"]


@dataclass(frozen=True, slots=True)
class Draft:
    """What would be written next: records, then the checkpoint that covers them."""

    records: tuple[AuditRecord, ...]
    checkpoint: Checkpoint

    def lines(self) -> bytes:
        """Return it as JSON Lines."""
        return b"".join(record.line() for record in self.records) + self.checkpoint.line()


class Chains:
    """The heads of a log's chains and its latest checkpoint.

    `draft` changes nothing; `commit` does, once the draft is durable. A write that fails leaves
    the chains where they were.

    Args:
        log: Id of the log.
        heads: Chain to head.
        latest: The latest checkpoint, or None in a new log.
        first: Number of the oldest kept segment.
    """

    __slots__ = ("first", "heads", "latest", "log")

    def __init__(
        self,
        log: str,
        *,
        heads: Mapping[str, Head] | None = None,
        latest: Checkpoint | None = None,
        first: int = 0,
    ) -> None:
        self.log = log
        self.heads: dict[str, Head] = dict(heads or {})
        self.latest = latest
        self.first = first

    def head(self, chain: str) -> Head:
        """Return where *chain* stands."""
        return self.heads.get(chain) or genesis(self.log, chain)

    def draft(
        self,
        events: Iterable[Mapping[str, Any]],
        *,
        key: AuditSigningKey,
        time: str,
        reason: str = "batch",
        full: bool = False,
    ) -> Draft:
        """Return the records of *events*, in order, and their signed checkpoint.

        Args:
            events: As `event_fields` gives them.
            key: Signs the checkpoint.
            time: Of the checkpoint, as `time_text`.
            reason: Of the checkpoint.
            full: Name every chain in the checkpoint, not only those that moved.
        """
        moved: dict[str, Head] = {}
        records = []
        for fields in events:
            chain = fields["tenant_id"] or ""
            record = AuditRecord.following(
                moved.get(chain) or self.head(chain), log=self.log, chain=chain, fields=fields
            )
            moved[chain] = record.head
            records.append(record)
        unsigned = Checkpoint(
            log=self.log,
            number=0 if self.latest is None else self.latest.number + 1,
            prev="" if self.latest is None else self.latest.hash,
            time=time,
            reason=reason,
            full=full,
            heads={**self.heads, **moved} if full else moved,
            first=self.first,
        )
        return Draft(tuple(records), unsigned.signed_by(key))

    def commit(self, draft: Draft) -> None:
        """Move on: *draft* is durable."""
        for record in draft.records:
            self.heads[record.chain] = record.head
        self.latest = draft.checkpoint
