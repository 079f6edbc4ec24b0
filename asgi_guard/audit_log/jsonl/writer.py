"""SegmentWriter: the one writer of a directory. Blocking; runs in a thread of its own."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

from asgi_guard._internal.clock import SYSTEM_CLOCK, utc
from asgi_guard.audit_log.canonical import parse_time, time_text
from asgi_guard.audit_log.chain import Chains, Draft
from asgi_guard.audit_log.errors import AuditLockedError, AuditUnavailableError
from asgi_guard.audit_log.jsonl.notices import expired_event, torn_event
from asgi_guard.audit_log.jsonl.recovery import recover, set_aside
from asgi_guard.audit_log.jsonl.segments import (
    Segment,
    create_private,
    lines_of,
    list_segments,
    lock_path,
    segment_path,
    sync_directory,
    write_head,
)
from asgi_guard.audit_log.record import Checkpoint, parse_line
from asgi_guard.audit_log.signing import AuditSigningKey, AuditVerifyKeys
from asgi_guard.protocols import Clock

__all__ = ["Rotation", "SegmentWriter"]

_MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """When a segment is closed, and how long it is kept.

    Args:
        max_bytes: Close it at this size.
        daily: Close it when the day changes, UTC.
        keep_days: Delete a closed segment after so many days; None keeps all.
        compress: Gzip closed segments.
    """

    max_bytes: int = 64 * _MEBIBYTE
    daily: bool = True
    keep_days: int | None = 90
    compress: bool = True


class SegmentWriter:
    """Appends batches, each with its checkpoint, each synced before `write` returns.

    Args:
        directory: Made with mode 0700 when missing.
        key: Signs checkpoints.
        keys: Whose checkpoints are believed when the log is opened again.
        rotation: When to begin a new segment.
        clock: Where time comes from.
    """

    def __init__(
        self,
        directory: Path,
        *,
        key: AuditSigningKey,
        keys: AuditVerifyKeys,
        rotation: Rotation,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._directory = directory
        self._key = key
        self._keys = keys
        self._rotation = rotation
        self._clock = clock
        self._lock: int | None = None
        self._file: int | None = None
        self._pid = os.getpid()
        self._size = self._opened_size = 0
        self._number = 0
        self._day = ""
        self._chains = Chains("")
        self.closed: list[Path] = []

    def open(self) -> None:
        """Take the lock, recover what is there, and be ready to append.

        Raises:
            AuditLockedError: Another writer holds the log.
            AuditTamperedError: It is not as its writer left it.
            OSError: The directory cannot be used.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._take_lock()
        try:
            self._resume()
        except BaseException:
            self.close()
            raise

    def write(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Append *events* (as `event_fields`) durably, with the checkpoint that covers them.

        Raises:
            OSError: Nothing was acknowledged, and the log is as it was before.
            AuditUnavailableError: This is a forked child of the process that opened the log.
        """
        if os.getpid() != self._pid:
            raise AuditUnavailableError("audit_log_forked")  # the lock is shared, the chain is not
        if self._file is None:
            self.open()
        if self._is_rotation_due():
            self._rotate()
        self._append(self._chains.draft(events, key=self._key, time=self._now()))

    def close(self) -> None:
        """Let go of the files; every batch is covered by its checkpoint already."""
        for descriptor in (self._file, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._file = self._lock = None

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        descriptor = os.open(lock_path(self._directory), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise AuditLockedError(str(self._directory)) from None
        self._lock, self._pid = descriptor, os.getpid()

    def _resume(self) -> None:
        found = recover(self._directory, self._keys)
        aside = [(tail, set_aside(tail)) for tail in found.torn]
        notes = [torn_event(tail, digest, self._clock) for tail, digest in aside if tail.size]
        if found.chains is None or found.segment is None:
            self._chains = Chains(token_hex(16), first=1)
            self._begin_segment(1)
        elif found.chains.latest is None or found.chains.latest.reason == "rotate":
            self._chains = found.chains
            self._begin_segment(found.segment.number + 1)
        else:
            self._chains = found.chains
            self._continue_segment(found.segment)
        self._find_leftovers()
        if notes:
            self.write(notes)

    def _continue_segment(self, segment: Segment) -> None:
        self._file = os.open(segment.path, os.O_RDWR | os.O_APPEND)
        self._size = os.fstat(self._file).st_size
        self._number = segment.number
        first = _first_line(segment)
        self._opened_size = len(first)
        self._day = _time_of(first)[:10]

    def _begin_segment(self, number: int) -> None:
        self._file = create_private(segment_path(self._directory, number))
        self._size, self._number = 0, number
        self._day = self._now()[:10]
        self._append(
            self._chains.draft((), key=self._key, time=self._now(), reason="open", full=True)
        )
        self._opened_size = self._size
        sync_directory(self._directory)

    def _append(self, draft: Draft) -> None:
        if self._file is None:
            raise AuditUnavailableError("audit_log_closed")
        content = draft.lines()
        try:
            _write_all(self._file, content)
        except OSError:
            os.ftruncate(self._file, self._size)  # a full disk: take back the half that fitted
            raise
        try:
            os.fsync(self._file)
            self._size += len(content)
            self._chains.commit(draft)
            write_head(self._directory, draft.checkpoint.line())
        except BaseException:
            # What is on the disk now is not known: the next write begins by reading it again.
            os.close(self._file)
            self._file = None
            raise

    def _is_rotation_due(self) -> bool:
        rule = self._rotation
        grown = self._size - self._opened_size  # the first checkpoint of many tenants is large
        return grown >= rule.max_bytes or (rule.daily and self._now()[:10] != self._day)

    def _rotate(self) -> None:
        expired = self._expired()
        if expired:
            self._chains.first = expired[-1].number + 1
        now = self._now()
        self._append(self._chains.draft((), key=self._key, time=now, reason="rotate", full=True))
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self.closed.append(segment_path(self._directory, self._number))
        self._begin_segment(self._number + 1)
        if expired:
            # On record first: a kill in between leaves files that nobody misses.
            event = expired_event(expired, self._clock)
            self._append(self._chains.draft([event], key=self._key, time=self._now()))
            for segment in expired:
                segment.path.unlink(missing_ok=True)

    def _expired(self) -> list[Segment]:
        """Return the oldest segments, up to the first whose successor began within the limit."""
        if self._rotation.keep_days is None:
            return []
        limit = utc(self._clock.now()) - timedelta(days=self._rotation.keep_days)
        gone = []
        for segment, successor in pairwise(list_segments(self._directory)):
            if parse_time(_time_of(_first_line(successor))) >= limit:
                break
            gone.append(segment)
        return gone

    def _find_leftovers(self) -> None:
        """Finish what a kill interrupted: expired files, and closed ones not yet gzipped."""
        for segment in list_segments(self._directory):
            if segment.number < self._chains.first:
                segment.path.unlink(missing_ok=True)
            elif segment.number < self._number and not segment.compressed:
                self.closed.append(segment.path)

    def _now(self) -> str:
        return time_text(utc(self._clock.now()))


def _first_line(segment: Segment) -> bytes:
    with closing(lines_of(segment)) as lines:
        return next(lines)


def _time_of(line: bytes) -> str:
    """Return when a segment began, from its first line."""
    entry = parse_line(line)
    return entry.time if isinstance(entry, Checkpoint) else str(entry.fields["time"])


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
