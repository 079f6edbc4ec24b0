"""Begin where a log ended, also when its writer was killed in the middle of a write.

What follows the last checkpoint was never acknowledged. It is set aside in a file of its own and
told to the caller, never silently dropped. Anything else that is wrong with the last segment is
tampering, and nothing is added to such a log.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from asgi_guard.audit_log.chain import Chains
from asgi_guard.audit_log.errors import AuditTamperedError
from asgi_guard.audit_log.jsonl.segments import (
    Segment,
    create_private,
    lines_of,
    list_segments,
    read_head,
)
from asgi_guard.audit_log.record import Checkpoint, MalformedLineError, parse_line
from asgi_guard.audit_log.signing import AuditVerifyKeys
from asgi_guard.audit_log.verify import Verifier

__all__ = ["Recovered", "TornTail", "recover", "set_aside"]


@dataclass(frozen=True, slots=True)
class TornTail:
    """What was never acknowledged.

    Args:
        segment: The file it is in.
        offset: Where it begins, in bytes.
        size: How long it is, in bytes.
    """

    segment: Segment
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Recovered:
    """Where to go on; ``chains`` is None in an empty directory."""

    chains: Chains | None
    segment: Segment | None
    torn: tuple[TornTail, ...]


def recover(directory: Path, keys: AuditVerifyKeys) -> Recovered:
    """Read the last segment and the head of the log in *directory*; change nothing.

    Raises:
        AuditTamperedError: The log is not as its writer left it.
    """
    head = _head(directory)
    torn: list[TornTail] = []
    for segment in reversed(list_segments(directory)):
        verifier, good, size = _read(segment, keys)
        if good < size or verifier.latest is None:
            torn.append(TornTail(segment, good, size - good))
        if verifier.latest is None:
            continue  # killed while it was made: the segment before it is the last
        _compare(head, verifier.latest)
        chains = Chains(
            verifier.latest.log,
            heads=verifier.signed,
            latest=verifier.latest,
            first=verifier.latest.first,
        )
        return Recovered(chains, segment, tuple(torn))
    if head is not None:
        raise AuditTamperedError("truncated", "there is a checkpoint, and no segment")
    return Recovered(None, None, tuple(torn))


def set_aside(tail: TornTail) -> str:
    """Copy *tail* into ``torn-…`` beside its segment, and cut it off; return its SHA-256."""
    path = tail.segment.path
    with path.open("r+b") as file:
        file.seek(tail.offset)
        content = file.read()
        digest = sha256(content).hexdigest()
        copy = path.with_name(f"torn-{tail.segment.number:08d}-{tail.offset}-{digest[:16]}")
        if content and not copy.exists():
            descriptor = create_private(copy)
            with open(descriptor, "wb") as kept:  # noqa: PTH123 - a descriptor, not a path
                kept.write(content)
        file.truncate(tail.offset)
    if tail.offset == 0:
        path.unlink()
    return digest


def _read(segment: Segment, keys: AuditVerifyKeys) -> tuple[Verifier, int, int]:
    """Return the verifier, where the last good checkpoint ends, and the size."""
    verifier = Verifier(keys)
    good = size = 0
    lines = lines_of(segment)
    for number, line in enumerate(lines, 1):
        size += len(line)
        entry = verifier.feed(line, f"{segment.path.name}:{number}")
        if verifier.findings:
            size += _nothing_signed_follows(lines, keys, verifier)
            break
        if isinstance(entry, Checkpoint):
            good = size
    return verifier, good, size


def _nothing_signed_follows(
    lines: Iterable[bytes], keys: AuditVerifyKeys, verifier: Verifier
) -> int:
    """Return the bytes of what is left; a torn write has nothing behind it."""
    finding = verifier.findings[0]
    if finding.kind != "altered" or "hash" in finding.problem:
        raise AuditTamperedError(finding.kind, str(finding))
    rest = 0
    for line in lines:
        rest += len(line)
        try:
            entry = parse_line(line)
        except MalformedLineError:
            continue
        if isinstance(entry, Checkpoint) and entry.is_signed(keys):
            raise AuditTamperedError(finding.kind, str(finding))
    return rest


def _head(directory: Path) -> Checkpoint | None:
    try:
        return read_head(directory)
    except MalformedLineError as error:
        raise AuditTamperedError("altered", "audit.head is not readable") from error


def _compare(head: Checkpoint | None, latest: Checkpoint) -> None:
    if head is None:
        # It is written right after the first checkpoint; only a kill in between leaves none.
        if latest.number > 0:
            raise AuditTamperedError("truncated", "audit.head is gone")
    elif head.log != latest.log:
        raise AuditTamperedError("foreign", "audit.head is another log's")
    elif head.number > latest.number:
        problem = f"the log ends at checkpoint {latest.number}, audit.head knows {head.number}"
        raise AuditTamperedError("truncated", problem)
