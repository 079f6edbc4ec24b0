"""What was heard already on one channel: a second time is a replay."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Literal

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.protocols import Clock
from asgi_guard.rls.shared.channel_seal import Opened

__all__ = ["MAX_AGE", "ReplayWindow"]

MAX_AGE: Final = 900.0
"""Seconds between `notify` and delivery, which is the commit. The longest transaction that
notifies must be shorter."""

_SKEW: Final = 60.0  # by which the clock of the process that signed may be ahead
_REMEMBERED: Final = 1024


class ReplayWindow:
    """Lets each signed payload through once.

    Memory is bounded: what is forgotten to make room also moves the time before which nothing is
    let through any more, so that a flood can make messages late but not be heard twice.

    Args:
        clock: Unix seconds.
        size: How many are remembered.
    """

    __slots__ = ("_clock", "_floor", "_seen", "_size")

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK, size: int = _REMEMBERED) -> None:
        self._clock = clock
        self._size = size
        self._floor = 0.0
        self._seen: OrderedDict[str, float] = OrderedDict()

    def admit(self, message: Opened) -> Literal["fresh", "replayed", "late", "early"]:
        """Say whether *message* is heard for the first time, and in time."""
        now = self._clock.now()
        if message.once in self._seen:
            return "replayed"
        if message.issued > now + _SKEW:
            return "early"
        if message.issued < now - MAX_AGE or message.issued <= self._floor:
            return "late"
        self._seen[message.once] = message.issued
        if len(self._seen) > self._size:
            _, issued = self._seen.popitem(last=False)
            self._floor = max(self._floor, issued)
        return "fresh"
