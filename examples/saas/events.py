"""The last events, so that the page can show what an attack left behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from asgi_guard.observability import SecurityEvent

_KEPT = 500


class RecentEvents:
    """An `EventSink` that keeps the newest 500 events."""

    def __init__(self) -> None:
        self._events: deque[SecurityEvent] = deque(maxlen=_KEPT)

    def emit(self, event: SecurityEvent) -> None:
        """Keep *event*."""
        self._events.append(event)

    def of_request(self, request_id: str) -> list[dict[str, str]]:
        """Return what the request left, without ids of users and tenants."""
        return [_shown(event) for event in self._events if event.request_id == request_id]

    @contextmanager
    def during(self) -> Iterator[list[dict[str, str]]]:
        """Give a list that holds, after the block, the events that arrived in it."""
        arrived: list[dict[str, str]] = []
        before = len(self._events) and self._events[-1]
        yield arrived
        newest: list[dict[str, str]] = []
        for event in reversed(self._events):
            if event is before:
                break
            newest.append(_shown(event))
        arrived.extend(reversed(newest))


def _shown(event: SecurityEvent) -> dict[str, str]:
    return {"name": event.name, "outcome": event.outcome, "reason": event.reason}
