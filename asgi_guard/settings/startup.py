"""Readiness: nothing is served before the row-level security of every database is proven real.

It runs when the server starts the app (ASGI lifespan). Under a server that sends no lifespan it
runs at the first request, once for all that wait, and requests are refused until it passes.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from asgi_guard._internal.events import emit
from asgi_guard._internal.responses import send_problem
from asgi_guard.errors import NotReadyError
from asgi_guard.protocols import ASGIApp, Clock, Receive, Scope, Send

__all__ = ["Readiness", "ReadyGate"]

_RETRY_SECONDS: Final = 5.0  # between two tries, so that callers cannot keep the database busy

_CODE: Final = re.compile(r"\[error\] (\w+):")

_log = logging.getLogger("asgi_guard")

Verify = Callable[[object], Awaitable[Iterable[str]]]
"""Looks at one database; gives what is wrong and what mends it, one text per finding."""


class Readiness:
    """Whether the databases have been found safe.

    Args:
        databases: What is to be looked at.
        verify: Looks at one of them. A `NotReadyError` says that it cannot be reached.
        enforce: Refuse to serve on a finding; else report it and serve.
        clock: Where time comes from.
        first: What is done before anything is looked at, e.g. opening the audit log. Its
            `NotReadyError` refuses, whatever *enforce* says.
    """

    def __init__(
        self,
        databases: Iterable[object],
        *,
        verify: Verify,
        enforce: bool,
        clock: Clock,
        first: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._databases = tuple(databases)
        self._verify = verify
        self._enforce = enforce
        self._clock = clock
        self._lock = asyncio.Lock()
        self._refusal: NotReadyError | None = None
        self._retry_at = 0.0
        self._first = first
        self.ready = not self._databases and first is None
        # What the last look found, also where it serves all the same: for operators alone.
        self.findings: tuple[str, ...] = ()

    async def ensure(self) -> None:
        """Return once everything has been found safe; callers that come together share one try.

        Raises:
            NotReadyError: It has not; ``detail`` lists what was found and the SQL that mends it.
        """
        if not self.ready:
            async with self._lock:
                await self._settle()

    async def _settle(self) -> None:
        if self.ready:
            return  # whoever held the lock before has passed
        if self._refusal is not None and self._clock.monotonic() < self._retry_at:
            raise self._refusal.with_traceback(None)
        if self._first is not None:
            await self._do_first(self._first)
        findings = [text for each in self._databases for text in await self._look_at(each)]
        self.findings = tuple(findings)
        if findings:
            _report(findings, enforced=self._enforce)
        if findings and self._enforce:
            raise self._refused(NotReadyError("startup_checks_failed", _message(findings)))
        self.ready = True

    def again(self) -> None:
        """Look again before anything is served: what was done first has been undone."""
        self.ready = not self._databases and self._first is None

    async def _do_first(self, first: Callable[[], Awaitable[None]]) -> None:
        try:
            await first()
        except NotReadyError as refusal:
            raise self._refused(refusal) from refusal.__cause__

    def _refused(self, refusal: NotReadyError) -> NotReadyError:
        self._refusal = refusal
        self._retry_at = self._clock.monotonic() + _RETRY_SECONDS
        return refusal

    async def _look_at(self, database: object) -> list[str]:
        try:
            return list(await self._verify(database))
        except NotReadyError as unreachable:
            return [str(unreachable)]


class ReadyGate:
    """Refuse connections with 503 ``not_ready`` until *readiness* is given."""

    def __init__(self, app: ASGIApp, *, readiness: Readiness) -> None:
        self.app = app
        self._readiness = readiness
        self._told: NotReadyError | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, once the checks have passed."""
        if not self._readiness.ready and scope["type"] in {"http", "websocket"}:
            try:
                await self._readiness.ensure()
            except NotReadyError as refusal:
                if refusal is not self._told:
                    self._told = refusal
                    _log.error("%s", refusal)
                await send_problem(scope, receive, send, refusal)
                return
        await self.app(scope, receive, send)


def _report(findings: list[str], *, enforced: bool) -> None:
    emit(
        "STARTUP_CHECK_FAILED",
        outcome="denied" if enforced else "error",
        reason="startup_checks_failed",
        details={"findings": len(findings), "enforced": enforced, "codes": _codes(findings)},
    )
    if not enforced:
        _log.error("%s", _message(findings, verdict="serves all the same (monitor)"))


def _codes(findings: list[str]) -> str:
    """Name each kind of finding once: a rule on the event stream can tell them apart."""
    named = (_CODE.search(text) for text in findings)
    return ",".join(sorted({found[1] for found in named if found}))


def _message(findings: list[str], *, verdict: str = "will not serve") -> str:
    count = "1 finding" if len(findings) == 1 else f"{len(findings)} findings"
    listing = "\n".join(f"{number}. {text}" for number, text in enumerate(findings, 1))
    return f"asgi_guard {verdict}: {count} about the database.\n{listing}"
