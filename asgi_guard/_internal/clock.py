"""The only place that reads the system's clocks."""

from __future__ import annotations

import time
from datetime import UTC, datetime

__all__ = ["SYSTEM_CLOCK", "SystemClock", "utc"]


class SystemClock:
    """The `Clock` of a running process."""

    __slots__ = ()

    def now(self) -> float:
        """Return Unix time in seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        return time.monotonic()


SYSTEM_CLOCK = SystemClock()


def utc(unix_seconds: float) -> datetime:
    """Return *unix_seconds* as an aware UTC datetime with microseconds."""
    return datetime.fromtimestamp(unix_seconds, tz=UTC)
