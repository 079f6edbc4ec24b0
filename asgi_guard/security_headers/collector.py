"""CSPReportCollector: the route that browsers send their reports to."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from typing import Final

from asgi_guard._internal.asgi import single_header
from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.events import emit
from asgi_guard._internal.proxies import TrustedProxies
from asgi_guard._internal.request_id import request_id_of
from asgi_guard._internal.responses import send_problem
from asgi_guard.errors import ConfigError, RejectionError
from asgi_guard.protocols import Clock, Receive, Scope, Send
from asgi_guard.security_headers.csp_reports import (
    LEGACY_TYPE,
    REPORTS_TYPE,
    Violation,
    parse_reports,
)
from asgi_guard.security_headers.report_limits import ReportLimits
from asgi_guard.security_headers.report_summary import DailySummary

__all__ = ["VIOLATION_EVENT", "CSPReportCollector"]

VIOLATION_EVENT: Final = "CSP_VIOLATION"


class _ReportRefusedError(RejectionError):
    title = "Report refused"

    def __init__(self, status: int, code: str, *headers: tuple[bytes, bytes]) -> None:
        self.status = status
        self.code = code
        super().__init__(headers=headers)


class CSPReportCollector:
    """An ASGI app that turns reports into ``CSP_VIOLATION`` events and a daily summary.

    ``app.add_route("/csp-reports", CSPReportCollector())`` in Starlette and FastAPI, with the same
    path as ``report_to`` of the policy; a mount would redirect to a trailing slash. Leave the path
    open to callers who have not signed in: browsers may send reports without credentials. It
    answers 204; 405, 413, 415, 429, 408 and 400 say what was wrong.

    Args:
        max_bytes: Largest body.
        max_reports: Reports taken out of one body.
        per_client_per_minute: Requests from one address.
        per_minute: Requests in all, in this process.
        body_timeout: Seconds a body may take to arrive.
        trusted_proxies: Whose word about the client's address is taken; see `TrustedProxies`.
        clock: Where time comes from.

    Raises:
        ConfigError: A limit is not positive.
    """

    def __init__(
        self,
        *,
        max_bytes: int = 65_536,
        max_reports: int = 20,
        per_client_per_minute: int = 60,
        per_minute: int = 600,
        body_timeout: float = 5.0,
        trusted_proxies: Iterable[str] | TrustedProxies = (),
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        limits = {
            "max_bytes": max_bytes,
            "max_reports": max_reports,
            "per_client_per_minute": per_client_per_minute,
            "per_minute": per_minute,
            "body_timeout": body_timeout,
        }
        for name, value in limits.items():
            if not value > 0:
                raise ConfigError(f"csp_report_collector.{name}", f"{value!r}", "Use 1 or more.")
        self._max_bytes = max_bytes
        self._max_reports = max_reports
        self._body_timeout = body_timeout
        self._proxies = (
            trusted_proxies
            if isinstance(trusted_proxies, TrustedProxies)
            else TrustedProxies(trusted_proxies)
        )
        self._clock = clock
        self._limits = ReportLimits(
            per_client=per_client_per_minute, overall=per_minute, clock=clock
        )
        self.summary = DailySummary(clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the reports of one request."""
        if scope["type"] != "http":
            await send_problem(scope, receive, send, _ReportRefusedError(404, "not_found"))
            return
        try:
            await self._take(scope, receive)
        except RejectionError as refused:
            self.summary.count_refused()
            await send_problem(scope, receive, send, refused)
            return
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def _take(self, scope: Scope, receive: Receive) -> None:
        if scope["method"] != "POST":
            raise _ReportRefusedError(405, "method_not_allowed", (b"allow", b"POST"))
        media_type = _media_type(scope)
        client = self._proxies.client_of(scope) or ""
        wait = self._limits.admit(client)
        if wait:
            seconds = str(math.ceil(wait)).encode()
            raise _ReportRefusedError(429, "too_many_reports", (b"retry-after", seconds))
        self._check_announced(scope)
        body = await self._body(receive)
        parsed = parse_reports(media_type, body, most=self._max_reports)
        self.summary.count_ignored(parsed.ignored)
        for violation in parsed.violations:
            self.summary.count(violation)
            self._emit(violation, scope, client)

    def _check_announced(self, scope: Scope) -> None:
        length = single_header(scope, b"content-length")
        if length is None:
            return
        if not length.isdigit():
            raise _ReportRefusedError(400, "request_invalid")
        # Compare lengths first: int() of a long text is slow, and refused beyond 4300 digits.
        if len(length) > len(str(self._max_bytes)) or int(length) > self._max_bytes:
            raise _ReportRefusedError(413, "report_too_large")

    async def _body(self, receive: Receive) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_timeout):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _ReportRefusedError(400, "request_invalid")
                    body += message.get("body", b"")
                    if len(body) > self._max_bytes:
                        raise _ReportRefusedError(413, "report_too_large")
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError as late:
            raise _ReportRefusedError(408, "report_too_slow") from late

    def _emit(self, violation: Violation, scope: Scope, client: str) -> None:
        emit(
            VIOLATION_EVENT,
            outcome="denied" if violation.disposition == "enforce" else "allowed",
            reason=violation.directive,
            clock=self._clock,
            request_id=request_id_of(scope),
            client=client or None,
            details={
                "disposition": violation.disposition,
                "blocked": violation.blocked,
                "document": violation.document,
                "source": violation.source,
                "line": violation.line,
            },
        )


def _media_type(scope: Scope) -> str:
    sent = single_header(scope, b"content-type") or b""
    media_type = sent.decode("latin-1").partition(";")[0].strip().lower()
    if media_type not in {LEGACY_TYPE, REPORTS_TYPE}:
        raise _ReportRefusedError(415, "report_type_unsupported")
    if single_header(scope, b"content-encoding") is not None:
        raise _ReportRefusedError(415, "report_encoding_unsupported")
    return media_type
