"""What an `AuditLog` writes to, as a protocol: any number of them, each with its own chains."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from asgi_guard.audit_log.findings import VerifyReport
from asgi_guard.audit_log.query import AuditQuery
from asgi_guard.audit_log.record import AuditRecord, Checkpoint
from asgi_guard.audit_log.signing import AuditSigningKey, AuditVerifyKeys
from asgi_guard.protocols import Clock

__all__ = ["AuditSink", "Seal", "TransactionalSink"]


@dataclass(frozen=True, slots=True)
class Seal:
    """What a sink signs with, and whose older signatures it believes."""

    key: AuditSigningKey
    keys: AuditVerifyKeys
    clock: Clock


@runtime_checkable
class AuditSink(Protocol):
    """A place that keeps records for good."""

    @property
    def label(self) -> str:
        """Name for operators, without secrets."""

    async def open(self, seal: Seal) -> None:
        """Be ready to write; raises when the log is not as it was left."""

    async def write(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Return once *events* (as `event_fields`) are durable; raise if one may not be."""

    async def aclose(self) -> None:
        """Let go of files and connections."""

    def read(self, query: AuditQuery) -> AsyncIterator[AuditRecord]:
        """Stream what *query* asks for, oldest first."""

    async def verify(
        self,
        keys: AuditVerifyKeys,
        *,
        anchors: Sequence[Checkpoint] = (),
        progress: Callable[[int, int], None] | None = None,
    ) -> VerifyReport:
        """Verify everything that is kept."""


@runtime_checkable
class TransactionalSink(Protocol):
    """A sink in the same database as the data."""

    @property
    def unsigned(self) -> bool:
        """Whether `write` is wanted, if only with nothing, to sign what `write_in` wrote."""

    async def write_in(
        self, connection: Any, fields: Mapping[str, Any], *, spare: bool = False
    ) -> None:
        """Write one event inside the caller's transaction, to be kept or lost with it.

        Args:
            connection: Theirs.
            fields: As `event_fields`.
            spare: Leave the transaction usable if this fails.
        """
