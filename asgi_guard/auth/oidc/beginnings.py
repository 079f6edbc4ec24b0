"""Beginnings: how many logins strangers may have under way, so that they do not fill the store.

A link to a login is open to everybody, and each use of it keeps a state for 300 s. A store that is
full refuses sessions as well: whoever fills it would log everybody out in time.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Final

from asgi_guard._internal.asgi import client_of
from asgi_guard._internal.request_id import request_id_of
from asgi_guard.auth.oidc.refusal import unavailable
from asgi_guard.auth.throttle import Attempt, Throttle
from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.protocols import Clock, Scope

__all__ = ["Beginnings"]

_SECONDS: Final = 300.0


class Beginnings:
    """Count the logins under way: of this process, and of each address.

    Args:
        most: Logins that this process has begun within 300 s, and not seen finished.
        throttle: Counts for each client's address and tenant; a login that succeeds is given
            back. None for no such limit.
        clock: Its ``monotonic`` decides which are too long ago.

    Raises:
        ConfigError: *most* is below 1, or *throttle* is none.
    """

    def __init__(self, *, most: int, throttle: Throttle | None, clock: Clock) -> None:
        if type(most) is not int or most < 1:
            raise ConfigError("OIDCLogin.most_waiting", f"is {most!r}", "Pass 1 or more.")
        if throttle is not None and not isinstance(throttle, Throttle):
            raise ConfigError("OIDCLogin.throttle", "is no Throttle", "Pass Throttle(name='oidc').")
        self._most = most
        self._throttle = throttle
        self._clock = clock
        self._begun: deque[float] = deque()

    async def admit(self, scope: Scope, tenant_id: str | None) -> None:
        """Count a login that is about to begin.

        Raises:
            ThrottledError: Its address or tenant has too many under way.
            UnavailableError: This process has, or the throttle does not answer.
        """
        if self._throttle is not None:
            await self._throttle.enter(self._attempt(self._throttle, scope, tenant_id))
        now = self._clock.monotonic()
        while self._begun and self._begun[0] <= now - _SECONDS:
            self._begun.popleft()
        if len(self._begun) >= self._most:
            unavailable("logins_under_way")
        self._begun.append(now)

    async def finished(self, scope: Scope, tenant_id: str | None) -> None:
        """Give back a login that came to its good end."""
        if self._begun:  # perhaps another's, or another process's: their number is what counts
            self._begun.popleft()
        if self._throttle is not None:
            with suppress(UnavailableError):
                attempt = self._attempt(self._throttle, scope, tenant_id)
                await self._throttle.count(attempt, amount=-1)

    @staticmethod
    def _attempt(throttle: Throttle, scope: Scope, tenant_id: str | None) -> Attempt:
        return throttle.attempt(
            address=client_of(scope), tenant=tenant_id, request_id=request_id_of(scope)
        )
