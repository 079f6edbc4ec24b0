"""One event a day that says how often each directive was violated."""

from __future__ import annotations

from collections import Counter
from typing import Final

from asgi_guard._internal.clock import utc
from asgi_guard._internal.events import emit
from asgi_guard.protocols import Clock
from asgi_guard.security_headers.csp_reports import Violation

__all__ = ["DAILY_EVENT", "DailySummary"]

DAILY_EVENT: Final = "CSP_DAILY_SUMMARY"


class DailySummary:
    """Counts by directive for one UTC day, emitted when the first report of a later day arrives.

    The number of different keys is bounded by the number of directives, whatever is reported.

    Args:
        clock: Where the day comes from.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._day = ""
        self._counts: Counter[str] = Counter()

    def count(self, violation: Violation) -> None:
        """Add one violation to today."""
        suffix = "" if violation.disposition == "enforce" else " (report-only)"
        self._add(violation.directive + suffix, 1)

    def count_ignored(self, number: int) -> None:
        """Add reports that were of another type, or too many in one request."""
        self._add("ignored", number)

    def count_refused(self) -> None:
        """Add a request that was refused: too large, too many, malformed."""
        self._add("refused", 1)

    def counts(self) -> dict[str, int]:
        """Return the counts so far of the day they belong to."""
        return dict(self._counts)

    def flush(self) -> None:
        """Emit what has been counted and begin anew; call it at shutdown. Nothing: no event."""
        if self._counts:
            emit(
                DAILY_EVENT,
                outcome="allowed",
                clock=self._clock,
                details={"day": self._day, **self._counts},
            )
        self._counts = Counter()

    def _add(self, key: str, number: int) -> None:
        today = utc(self._clock.now()).date().isoformat()
        if today != self._day:
            self.flush()
            self._day = today
        if number:
            self._counts[key] += number
