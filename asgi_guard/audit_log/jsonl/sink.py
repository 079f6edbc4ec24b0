"""JSONLinesAuditSink: a directory of signed, rotated, gzipped JSON Lines."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Final

from asgi_guard.audit_log.errors import AuditUnavailableError
from asgi_guard.audit_log.findings import VerifyReport
from asgi_guard.audit_log.jsonl.reader import read_records, verify_directory
from asgi_guard.audit_log.jsonl.segments import compress
from asgi_guard.audit_log.jsonl.writer import Rotation, SegmentWriter
from asgi_guard.audit_log.query import AuditQuery
from asgi_guard.audit_log.record import AuditRecord, Checkpoint
from asgi_guard.audit_log.signing import AuditVerifyKeys
from asgi_guard.audit_log.sinks import Seal
from asgi_guard.errors import ConfigError

__all__ = ["JSONLinesAuditSink"]

_SLICE: Final = 500
_SMALLEST: Final = 4096
_log = logging.getLogger("asgi_guard.audit_log")


class JSONLinesAuditSink:
    """One JSON object a line, in files of mode 0600; one process writes, any number read.

    Args:
        path: The log's own directory, on a local file system (``flock`` and ``fsync`` must mean
            what they say). Each worker process needs a directory of its own.
        max_bytes: Size at which a segment is closed.
        daily: Whether a segment is closed when the day changes, UTC.
        keep_days: Days after which a closed segment is deleted; None keeps all.
        compress: Whether closed segments are gzipped.

    Raises:
        ConfigError: A limit has no meaning.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int = 64 * 1024 * 1024,
        daily: bool = True,
        keep_days: int | None = 90,
        compress: bool = True,
    ) -> None:
        if max_bytes < _SMALLEST:
            raise ConfigError("audit_log.max_bytes", f"{max_bytes}", f"Use {_SMALLEST} or more.")
        if keep_days is not None and keep_days < 1:
            raise ConfigError("audit_log.keep_days", f"{keep_days}", "Use 1 or more, or None.")
        self.path = Path(path)
        self._rotation = Rotation(
            max_bytes=max_bytes, daily=daily, keep_days=keep_days, compress=compress
        )
        self._writer: SegmentWriter | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._packer: ThreadPoolExecutor | None = None

    @property
    def label(self) -> str:
        """The directory."""
        return f"jsonl:{self.path}"

    async def open(self, seal: Seal) -> None:
        """Take the lock and recover what a killed writer left.

        Raises:
            AuditLockedError: Another process writes.
            AuditTamperedError: The log is not as its writer left it.
        """
        self._writer = SegmentWriter(
            self.path, key=seal.key, keys=seal.keys, rotation=self._rotation, clock=seal.clock
        )
        # One thread: the order of writes is the order of the chain.
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="asgi-guard-audit")
        try:
            await self._run(self._writer.open)
        except BaseException:
            await self.aclose()
            raise
        self._pack()

    async def write(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Append a batch, with one checkpoint and one ``fsync``.

        Raises:
            AuditUnavailableError: The sink is not open.
            OSError: It was not written; the log is as before.
        """
        if self._writer is None:
            raise AuditUnavailableError("audit_log_closed")
        await self._run(self._writer.write, list(events))
        self._pack()

    async def aclose(self) -> None:
        """Finish packing, close the files and give the lock back."""
        writer, self._writer = self._writer, None
        if writer is not None and self._threads is not None:
            await self._run(writer.close)
        for pool in (self._threads, self._packer):
            if pool is not None:
                await asyncio.to_thread(pool.shutdown)
        self._threads = self._packer = None

    async def read(self, query: AuditQuery) -> AsyncIterator[AuditRecord]:
        """Stream what *query* asks for, a few hundred lines at a time in a thread."""
        records = read_records(self.path, query)
        while part := await asyncio.to_thread(lambda: list(islice(records, _SLICE))):
            for record in part:
                yield record

    async def verify(
        self,
        keys: AuditVerifyKeys,
        *,
        anchors: Sequence[Checkpoint] = (),
        progress: Callable[[int, int], None] | None = None,
    ) -> VerifyReport:
        """Verify every segment, in a thread."""
        return await asyncio.to_thread(
            verify_directory, self.path, keys, anchors=anchors, progress=progress
        )

    async def _run(self, work: Callable[..., None], *args: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)

    def _pack(self) -> None:
        """Gzip closed segments beside the writing, which does not wait for it."""
        if self._writer is None or not self._writer.closed or not self._rotation.compress:
            return
        if self._packer is None:
            self._packer = ThreadPoolExecutor(1, thread_name_prefix="asgi-guard-audit-gzip")
        while self._writer.closed:
            self._packer.submit(compress, self._writer.closed.pop(0)).add_done_callback(_told)


def _told(done: Future[None]) -> None:
    """Log a failure: the segment stays as it is, and is tried again at the next start."""
    error = done.exception()
    if error is not None and not isinstance(error, FileNotFoundError):
        _log.error("a closed audit segment was not gzipped: %s", type(error).__name__)
