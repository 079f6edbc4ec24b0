"""Sockets that a token or key opened, and that end with it.

A token is verified at the handshake and a socket stays open for days: whoever is logged out
everywhere, or loses a signing key, must not be listened to until the token would have expired.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from asgi_guard.auth.socket_lease import Ticker, lease_of
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Scope

__all__ = ["SocketChecks"]

_LONGEST: Final = 60.0


class SocketChecks:
    """How often the sockets of one authenticator are looked at again.

    Args:
        every: Seconds between two looks, above 0 to 60.
        ticker: Waits between them.

    Raises:
        ConfigError: *every* is out of range.
    """

    __slots__ = ("_every", "_ticker")

    def __init__(self, *, every: float, ticker: Ticker) -> None:
        if not 0 < every <= _LONGEST:
            raise ConfigError("check_sockets_every", f"is {every!r}", "Pass 1 to 60 seconds.")
        self._every = every
        self._ticker = ticker

    def watch(self, scope: Scope, check: Callable[[], Awaitable[object]]) -> None:
        """Let the socket of *scope* end when *check* raises; a request needs no watching.

        Args:
            scope: Of the connection that was just authenticated.
            check: Raises `AuthenticationError` once the credential holds no more.
        """
        if scope["type"] != "websocket":
            return

        async def again(_heard: bool) -> None:  # noqa: FBT001 - the lease's own signature
            await check()

        lease = lease_of(scope)
        lease.check = again
        lease.every, lease.ticker = self._every, self._ticker
