"""How many reports are taken, from one client and from all.

A page with one broken line sends a report per visitor and view, and anybody may send made-up ones;
neither may fill the disk behind the event stream. The counts are this process's own: with several
workers the total is that many times higher, still bounded.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from asgi_guard.protocols import Clock

__all__ = ["ReportLimits"]

_MINUTE: Final = 60.0
_MOST_CLIENTS: Final = 4096


class _Bucket:
    """Refills evenly over a minute; full at first."""

    __slots__ = ("_at", "_left")

    def __init__(self, size: float, now: float) -> None:
        self._left = size
        self._at = now

    def wait(self, size: float, now: float) -> float:
        """Return the seconds until one more fits, 0 if it does now."""
        self._left = min(size, self._left + max(0.0, now - self._at) * size / _MINUTE)
        self._at = now
        return 0.0 if self._left >= 1 else (1 - self._left) * _MINUTE / size

    def take(self) -> None:
        self._left -= 1


class ReportLimits:
    """Token buckets, one for each client and one for all.

    Args:
        per_client: Requests a minute from one address.
        overall: Requests a minute in all; it is what holds against many addresses.
        clock: Where time comes from.

    The least recently seen of 4096 clients is forgotten for a new one.
    """

    __slots__ = ("_all", "_clients", "_clock", "_overall", "_per_client")

    def __init__(self, *, per_client: int, overall: int, clock: Clock) -> None:
        self._per_client = per_client
        self._overall = overall
        self._clock = clock
        self._all = _Bucket(overall, clock.monotonic())
        self._clients: OrderedDict[str, _Bucket] = OrderedDict()

    def admit(self, client: str) -> float:
        """Count one request of *client*.

        Returns:
            0 if it is admitted, else the seconds after which another may be.
        """
        now = self._clock.monotonic()
        bucket = self._bucket(client, now)
        wait = bucket.wait(self._per_client, now) or self._all.wait(self._overall, now)
        if not wait:
            bucket.take()
            self._all.take()
        return wait

    def _bucket(self, client: str, now: float) -> _Bucket:
        bucket = self._clients.pop(client, None) or _Bucket(self._per_client, now)
        self._clients[client] = bucket
        if len(self._clients) > _MOST_CLIENTS:
            self._clients.popitem(last=False)
        return bucket
