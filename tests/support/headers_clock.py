"""A clock that tests move by hand."""

from __future__ import annotations

__all__ = ["MovedClock"]


class MovedClock:
    """Starts at 2026-03-01T12:00:00Z."""

    def __init__(self) -> None:
        self.elapsed = 0.0

    def now(self) -> float:
        return 1_772_366_400.0 + self.elapsed

    def monotonic(self) -> float:
        return 50.0 + self.elapsed

    def move(self, seconds: float) -> None:
        self.elapsed += seconds
