"""How long sessions last and how much they may hold, checked when it is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from asgi_guard.errors import ConfigError

__all__ = ["SessionLimits"]

_LONGEST: Final = 30 * 86_400.0
_MOST_STATE: Final = 60 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """Bounds of a session.

    Args:
        idle: Seconds without use after which it ends.
        absolute: Seconds after the login at which it ends in any case.
        touch_every: A use is recorded when the last record is this old, so idle sessions end
            up to this much early, never late.
        per_user: Sessions of a user in a tenant; a further login ends the oldest.
        state_bytes: Largest state that is kept with a session.
        check_sockets_every: Seconds within which a session that another process ended closes
            its open WebSockets.

    Raises:
        ConfigError: One is out of range.
    """

    idle: float = 900.0
    absolute: float = 43_200.0
    touch_every: float = 60.0
    per_user: int = 50
    state_bytes: int = 16_384
    check_sockets_every: float = 10.0

    def __post_init__(self) -> None:
        """Refuse what would end no session, or every one."""
        _check("absolute", self.absolute, within=0 < self.absolute <= _LONGEST)
        _check("idle", self.idle, within=0 < self.idle <= self.absolute)
        _check("touch_every", self.touch_every, within=0 <= self.touch_every <= self.idle / 2)
        _check("per_user", self.per_user, within=1 <= self.per_user <= 500)  # noqa: PLR2004 - fits
        _check("check_sockets_every", self.check_sockets_every, within=self._often_enough)
        _check("state_bytes", self.state_bytes, within=0 < self.state_bytes <= _MOST_STATE)

    @property
    def _often_enough(self) -> bool:
        return 0 < self.check_sockets_every <= self.idle


def _check(name: str, value: float, *, within: bool) -> None:
    if not within:
        raise ConfigError(
            f"SessionLimits.{name}",
            f"{value!r} is out of range",
            "Pass seconds with touch_every at most half of idle and idle at most absolute.",
        )
