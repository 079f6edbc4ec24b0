"""AuditLog: the reader of the event stream that keeps what it reads."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Self

from asgi_guard._internal.clock import SYSTEM_CLOCK, utc
from asgi_guard.audit_log.canonical import event_fields
from asgi_guard.audit_log.delivery import deliver, deliver_blocking
from asgi_guard.audit_log.errors import AuditUnavailableError
from asgi_guard.audit_log.findings import VerifyReport
from asgi_guard.audit_log.lane import Lane
from asgi_guard.audit_log.query import AuditQuery
from asgi_guard.audit_log.record import AuditRecord, Checkpoint
from asgi_guard.audit_log.signing import AuditSigningKey, AuditVerifyKeys
from asgi_guard.audit_log.sinks import AuditSink, Seal
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Clock, SecurityEvent
from asgi_guard.tenancy.current import note_failure

__all__ = ["AuditLog", "AuditMode"]

AuditMode = Literal["required", "best_effort"]
_MODES: Final = ("required", "best_effort")


class AuditLog:
    """Keeps every event in every sink, in hash chains that a signature closes.

    An `EventSink`: subscribe it, or name it in ``GuardSettings(event_sinks=[audit])``. Open it in
    the app's lifespan::

        audit = AuditLog(
            sinks=[JSONLinesAuditSink("/var/log/app/audit")],
            signing_key=AuditSigningKey.from_file("/etc/app/audit.key"),
        )

        async with audit:
            await audit.record(event)  # returns once it is durable in every sink

    Args:
        sinks: Where to; each keeps chains of its own.
        signing_key: Signs checkpoints.
        mode: ``"required"``: what cannot be recorded is refused. `record` raises, and an event of
            the stream that finds no room makes its request end in 503. ``"best_effort"``: it is
            counted in `dropped`, and the request goes on.
        former_keys: Public keys that signed earlier parts of the log.
        capacity: Events that may wait for a sink.
        interval: Seconds that an allowed event may wait for company; refusals do not wait.
        routine: Whether successes of the hot path are wanted as well, e.g.
            ``AUTHENTICATION_SUCCEEDED``: one event per request.
        clock: Where the time of checkpoints comes from.

    Raises:
        ConfigError: There is no sink, one is none, or a setting has no meaning.
    """

    def __init__(
        self,
        *,
        sinks: Iterable[AuditSink],
        signing_key: AuditSigningKey,
        mode: AuditMode = "required",
        former_keys: Iterable[str] = (),
        capacity: int = 10_000,
        interval: float = 0.2,
        routine: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._sinks = tuple(sinks)
        if not self._sinks or not all(isinstance(sink, AuditSink) for sink in self._sinks):
            raise ConfigError(
                "audit_log.sinks", "needs one sink or more", "Pass e.g. JSONLinesAuditSink(path)."
            )
        if mode not in _MODES:
            raise ConfigError("audit_log.mode", f"{mode!r}", f"Use one of {_MODES}.")
        if capacity < 1 or not interval > 0:
            raise ConfigError("audit_log.capacity", "or interval is not positive", "Raise it.")
        self.mode = mode
        self.routine = routine
        self._clock = clock
        self._keys = AuditVerifyKeys([signing_key.public_key, *former_keys])
        self._seal = Seal(signing_key, self._keys, clock)
        self._lanes = tuple(
            Lane(sink, capacity=capacity, interval=interval, dropped_event=self._dropped_event)
            for sink in self._sinks
        )
        self._open = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lost: Counter[str] = Counter()

    async def start(self) -> None:
        """Open the sinks and begin to write; a log that is open already stays so.

        Raises:
            AuditLockedError: Another process writes to one of them.
            AuditTamperedError: One is not as it was left.
            AuditUnavailableError: One cannot be reached.
        """
        if self._open:
            return
        opened: list[AuditSink] = []
        try:
            for sink in self._sinks:
                await sink.open(self._seal)
                opened.append(sink)
        except OSError as error:
            await _close(opened)
            raise AuditUnavailableError(f"audit_sink_not_opened: {type(error).__name__}") from error
        except BaseException:
            await _close(opened)
            raise
        self._loop = asyncio.get_running_loop()
        for lane in self._lanes:
            lane.start()
        self._open = True

    async def aclose(self) -> None:
        """Write what is queued, and close the sinks. What cannot be written is in `dropped`."""
        self._open = False
        for lane in self._lanes:
            await lane.aclose()
        await _close(self._sinks)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def emit(self, event: SecurityEvent) -> None:
        """Queue one event of the stream; never blocks, from any thread.

        Refusals and errors are written at once, others within ``interval``. Without room the
        event is counted as dropped; with ``mode="required"`` its request then ends in 503.
        """
        fields = event_fields(event)
        urgent = event.outcome != "allowed"
        kept = [lane.offer(fields, urgent=urgent) for lane in self._lanes]
        if self.mode == "required" and not all(kept):
            note_failure(AuditUnavailableError("audit_queue_full"))

    async def record(self, event: SecurityEvent, *, connection: Any = None) -> bool:
        """Record one event, and return once it is durable in every sink.

        Args:
            event: What happened.
            connection: The transaction of the write that the event is about: an asyncpg
                connection, or SQLAlchemy's ``AsyncConnection`` or ``AsyncSession``. Sinks in that
                database then write inside it: both are kept, or neither. Call it last, before the
                commit: until then other writers of the tenant's chain wait.

        Returns:
            True; with ``"best_effort"`` False if a sink failed.

        Raises:
            AuditUnavailableError: ``mode="required"``, and a sink could not keep it. Let it
                through: the transaction must not be committed.
        """
        fields = event_fields(event)
        try:
            spare = self.mode == "best_effort"
            await deliver(self._lanes_open(), fields, connection, spare=spare)
        except Exception as error:  # noqa: BLE001 - judged, and raised again, by _failed
            return self._failed(fields, error)
        return True

    def record_blocking(
        self, event: SecurityEvent, *, connection: Any = None, timeout: float = 30.0
    ) -> bool:
        """Record one event from a thread of its own, as `record` does on the event loop.

        Args:
            event: What happened.
            connection: The transaction that it is about: SQLAlchemy's ``Connection``.
            timeout: Seconds to wait for the sinks.

        Raises:
            AuditUnavailableError: As `record`; or this thread is the event loop's own, which
                must not wait (``audit_would_block``).
        """
        fields = event_fields(event)
        try:
            spare, loop = self.mode == "best_effort", self._loop
            lanes = self._lanes_open()
            deliver_blocking(lanes, fields, connection, spare=spare, loop=loop, timeout=timeout)
        except Exception as error:  # noqa: BLE001 - judged and raised again by _failed
            return self._failed(fields, error)
        return True

    @property
    def dropped(self) -> Counter[str]:
        """How many events of which name a sink did not get, since the start."""
        return sum((lane.dropped for lane in self._lanes), Counter(self._lost))

    @property
    def waiting(self) -> int:
        """How many events wait in the longest queue, of at most ``capacity``."""
        return max(lane.waiting for lane in self._lanes)

    @property
    def healthy(self) -> bool:
        """Whether the log is open and every sink took what it was last given."""
        return self._open and not any(lane.failing for lane in self._lanes)

    def read(self, query: AuditQuery | None = None) -> AsyncIterator[AuditRecord]:
        """Stream records from the first sink, oldest first; see `AuditQuery`.

        What is still queued is not there yet.
        """
        return self._sinks[0].read(query or AuditQuery())

    async def verify(
        self,
        *,
        anchors: Sequence[Checkpoint] = (),
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, VerifyReport]:
        """Verify every sink; the reports by the sinks' labels."""
        return {
            sink.label: await sink.verify(self._keys, anchors=anchors, progress=progress)
            for sink in self._sinks
        }

    def _lanes_open(self) -> tuple[Lane, ...]:
        if not self._open:
            raise AuditUnavailableError("audit_log_closed")
        return self._lanes

    def _failed(self, fields: Mapping[str, Any], error: Exception) -> bool:
        if self.mode == "required":
            if isinstance(error, AuditUnavailableError):
                raise error
            raise AuditUnavailableError("audit_write_failed") from error
        if getattr(error, "reason", "") != "audit_queue_full":  # the queue has counted it
            self._lost[fields["name"]] += 1
        return False

    def _dropped_event(self, dropped: Counter[str]) -> Mapping[str, Any]:
        return event_fields(
            SecurityEvent(
                name="AUDIT_EVENTS_DROPPED",
                outcome="error",
                reason="audit_queue_full",
                time=utc(self._clock.now()),
                details={"events": dropped.total(), **dropped},
            )
        )


async def _close(sinks: Iterable[AuditSink]) -> None:
    for sink in sinks:
        await sink.aclose()
