"""Read a JSON Lines log: verify all of it, or stream what a query asks for. Blocking."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Final

from asgi_guard.audit_log.canonical import time_text
from asgi_guard.audit_log.findings import Finding, VerifyReport
from asgi_guard.audit_log.jsonl.segments import (
    Segment,
    is_written,
    lines_of,
    list_segments,
    read_head,
)
from asgi_guard.audit_log.query import AuditQuery
from asgi_guard.audit_log.record import AuditRecord, Checkpoint, MalformedLineError, parse_line
from asgi_guard.audit_log.signing import AuditVerifyKeys
from asgi_guard.audit_log.verify import Verifier
from asgi_guard.errors import ConfigError

__all__ = ["read_records", "verify_directory"]

_MOST_SKEW: Final = timedelta(days=1)  # a service whose clock is ahead tells of tomorrow
_LINES: Final = 10**9  # a cursor is one number: the segment's times this, plus the line's
_LONGEST_CURSOR: Final = 18
_UNREADABLE: Final = (OSError, EOFError, zlib.error)


def verify_directory(
    directory: Path,
    keys: AuditVerifyKeys,
    *,
    anchors: Iterable[Checkpoint] = (),
    progress: Callable[[int, int], None] | None = None,
) -> VerifyReport:
    """Verify every record of the log in *directory*.

    Args:
        directory: Where the segments are.
        keys: Whose signatures are believed.
        anchors: Checkpoints kept elsewhere; each must be in the log.
        progress: Called with segments done and segments in all.

    Returns:
        What was found. Memory is bounded by the number of chains, not of records.

    Raises:
        ConfigError: There is no such directory.
    """
    if not directory.is_dir():
        raise ConfigError("audit_log.path", f"{directory} is no directory", "Name the log's own.")
    live = is_written(directory)
    head, unreadable = _head(directory, keys)  # before the segments: a live log only grows
    known = list(anchors) if head is None else [*anchors, head]
    verifier = Verifier(keys, anchors=known)
    verifier.findings.extend(unreadable)
    segments = list_segments(directory)
    if head is not None:
        segments = [each for each in segments if each.number >= head.first]
    _check_numbers(verifier, segments, head)
    for done, segment in enumerate(segments):
        if progress is not None:
            progress(done, len(segments))
        _feed(verifier, segment, live=live and segment is segments[-1])
    if progress is not None:
        progress(len(segments), len(segments))
    return verifier.finish(live=live)


def read_records(directory: Path, query: AuditQuery) -> Generator[AuditRecord, None, None]:
    """Give the records that *query* asks for, oldest first.

    Does not verify: what was tampered with is shown as it is, and lines that are no records are
    left out.
    """
    start, skip = _position(query.after)
    given = 0
    for segment in _relevant(list_segments(directory), query, start):
        with closing(lines_of(segment)) as lines:
            for number, line in enumerate(lines, 1):
                if segment.number == start and number <= skip:
                    continue
                record = _record(line, str(segment.number * _LINES + number))
                if record is None or not query.matches(record.fields):
                    continue
                yield record
                given += 1
                if given == query.limit:
                    return


def _feed(verifier: Verifier, segment: Segment, *, live: bool) -> None:
    where = segment.path.name
    number = 0
    try:
        with closing(lines_of(segment)) as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    if not live:
                        verifier.found("truncated", f"{where}:{number}", "the line has no end")
                    return
                verifier.feed(line, f"{where}:{number}")
    except _UNREADABLE as error:
        problem = f"the file cannot be read on: {type(error).__name__}"
        verifier.found("truncated", f"{where}:{number + 1}", problem)


def _head(directory: Path, keys: AuditVerifyKeys) -> tuple[Checkpoint | None, list[Finding]]:
    try:
        head = read_head(directory)
    except (MalformedLineError, OSError):
        return None, [Finding("altered", "audit.head", "it holds no checkpoint")]
    if head is None:
        return None, [Finding("truncated", "audit.head", "it is missing")]
    if not head.is_signed(keys):
        return None, [Finding("forged", "audit.head", "no known key signed it")]
    return head, []


def _check_numbers(verifier: Verifier, segments: list[Segment], head: Checkpoint | None) -> None:
    expected = head.first if head is not None else None
    for segment in segments:
        if expected is not None and segment.number != expected:
            problem = f"expected segment {expected}, found {segment.number}"
            verifier.found("dropped", segment.path.name, problem)
        expected = segment.number + 1
    if not segments:
        verifier.found("truncated", "the directory", "it holds no segment")


def _relevant(segments: list[Segment], query: AuditQuery, start: int) -> list[Segment]:
    """Leave out the segments that ended before the query's time, by when the next one began."""
    kept = [segment for segment in segments if segment.number >= start]
    if query.since is None:
        return kept
    since = time_text(query.since - _MOST_SKEW)
    while len(kept) > 1 and (_began(kept[1]) or "~") < since:
        kept.pop(0)
    return kept


def _began(segment: Segment) -> str | None:
    try:
        with closing(lines_of(segment)) as lines:
            entry = parse_line(next(lines, b""))
    except (MalformedLineError, *_UNREADABLE):
        return None
    return entry.time if isinstance(entry, Checkpoint) else None


def _record(line: bytes, cursor: str) -> AuditRecord | None:
    if b'"kind":"record"' not in line:
        return None
    try:
        entry = parse_line(line, cursor=cursor)
    except MalformedLineError:
        return None
    return entry if isinstance(entry, AuditRecord) else None


def _position(after: str | None) -> tuple[int, int]:
    if after is None:
        return 0, 0
    if not (after.isascii() and after.isdecimal() and len(after) <= _LONGEST_CURSOR):
        raise ConfigError("AuditQuery.after", "is no cursor of this log", "Pass a record's cursor.")
    return divmod(int(after), _LINES)
