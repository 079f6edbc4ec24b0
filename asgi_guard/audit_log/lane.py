"""One sink's queue and the task that empties it: one batch at a time, in order."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, Final

from asgi_guard.audit_log.errors import AuditUnavailableError
from asgi_guard.audit_log.sinks import AuditSink

__all__ = ["Lane", "Waiting"]

_BATCH: Final = 500
_LONGEST_PAUSE: Final = 5.0
_log = logging.getLogger("asgi_guard.audit_log")

Waiting = tuple[Mapping[str, Any], asyncio.Future[None] | None]
"""An event as it is stored, and who waits for it to be durable."""


class Lane:
    """Carries events to one *sink*; other sinks neither wait for it nor fail with it.

    An event that somebody waits for is tried once, and its failure told. Others stay queued and
    are tried again, after a pause that doubles up to five seconds.

    Args:
        sink: Where to.
        capacity: Events that may wait; more are refused by `offer`.
        interval: Seconds that events without urgency may wait for company.
        dropped_event: Makes the event that tells how many of which name were dropped.
    """

    def __init__(
        self,
        sink: AuditSink,
        *,
        capacity: int,
        interval: float,
        dropped_event: Callable[[Counter[str]], Mapping[str, Any]],
    ) -> None:
        self.sink = sink
        self._capacity = capacity
        self._interval = interval
        self._dropped_event = dropped_event
        self._waiting: deque[Waiting] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._woken = False
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._untold: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.failing = False

    @property
    def waiting(self) -> int:
        """How many events wait."""
        return len(self._waiting)

    def start(self) -> None:
        """Begin to empty the queue, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run(), name=f"audit {self.sink.label}")

    def offer(
        self,
        fields: Mapping[str, Any],
        *,
        urgent: bool,
        done: asyncio.Future[None] | None = None,
    ) -> bool:
        """Queue one event, from any thread; False when there is no room."""
        if len(self._waiting) >= self._capacity:
            self.dropped[fields["name"]] += 1
            self._untold[fields["name"]] += 1
            return False
        self._waiting.append((fields, done))
        if urgent and not self._woken and self._loop is not None:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._wake.set)
            except RuntimeError:  # the loop is closed: `start` on the next one will find it
                self._woken = False
        return True

    async def aclose(self) -> int:
        """Write what is queued, and stop; return how many could not be written."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task
        self._task = None
        left = len(self._waiting)
        for fields, done in self._waiting:
            self.dropped[fields["name"]] += 1
            _tell(done, AuditUnavailableError("audit_log_closed"))
        self._waiting.clear()
        return left

    async def _run(self) -> None:
        pause = 0.0
        while True:
            if not self._waiting or pause:
                if self._closing:
                    return
                await self._sleep(pause or self._interval)
            self._wake.clear()
            self._woken = False
            if self._waiting or getattr(self.sink, "unsigned", False):
                written = await self._write_batch()
                pause = 0.0 if written else min(max(2 * pause, 0.1), _LONGEST_PAUSE)

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return

    async def _write_batch(self) -> bool:
        batch = list(islice(self._waiting, _BATCH))
        told, self._untold = self._untold, Counter()  # more may be dropped during the write
        events = [fields for fields, _ in batch]
        if told:
            events.append(self._dropped_event(told))
        try:
            await self.sink.write(events)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may believe it was written
            self._untold += told
            self._failed(batch, error)
            return False
        if self.failing:
            _log.warning("audit sink %s writes again", self.sink.label)
        self.failing = False
        for _ in batch:
            _, done = self._waiting.popleft()
            _tell(done, None)
        return True

    def _failed(self, batch: list[Waiting], error: Exception) -> None:
        if not self.failing:
            _log.error("audit sink %s cannot write: %s", self.sink.label, type(error).__name__)
        self.failing = True
        for _ in batch:
            self._waiting.popleft()
        for _, done in batch:
            _tell(done, AuditUnavailableError("audit_write_failed"))
        self._waiting.extendleft(reversed([each for each in batch if each[1] is None]))


def _tell(done: asyncio.Future[None] | None, error: Exception | None) -> None:
    if done is None or done.done():  # nobody waits, or no longer
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
