"""A WebSocket ends with the credential that opened it: 4401 at expiry.

A request is over before its credential is; a socket may stay open for days. Once the credential
has expired the app gets a ``websocket.disconnect`` instead of messages and can send nothing more,
so a user whose access was not renewed stops both speaking and hearing.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final

import anyio

from asgi_guard.protocols import Clock, Receive, Send

__all__ = ["CREDENTIAL_EXPIRED", "ExpiringSocket"]

CREDENTIAL_EXPIRED: Final = 4401  # the private-use twin of HTTP's 401 (RFC 6455 section 7.4.2)


class ExpiringSocket:
    """The two channels of one WebSocket, until a moment.

    Args:
        receive: The server's channel.
        send: The server's channel.
        expires_at: Unix seconds.
        clock: Where "now" comes from. A wait that is under way ends after the time that was left
            when it began.
    """

    def __init__(self, receive: Receive, send: Send, *, expires_at: float, clock: Clock) -> None:
        self._receive = receive
        self._send = send
        self._expires_at = expires_at
        self._clock = clock
        self._closed = False

    async def receive(self) -> MutableMapping[str, Any]:
        """Return the next message, or a disconnect once the time is up."""
        left = self._expires_at - self._clock.now()
        if left > 0:
            with anyio.move_on_after(left):
                message = await self._receive()
                if message["type"] != "websocket.receive" or not self._expired():
                    return message
        await self._close()
        return {"type": "websocket.disconnect", "code": CREDENTIAL_EXPIRED, "reason": ""}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Send *message* while there is time.

        Raises:
            OSError: The time is up; what ASGI asks of a send to a closed connection.
        """
        if self._expired() and message["type"] != "websocket.close":
            await self._close()
            raise OSError("the credential of this WebSocket has expired")
        if message["type"] == "websocket.close":
            if self._closed:
                return
            self._closed = True
        await self._send(message)

    def _expired(self) -> bool:
        return not self._clock.now() < self._expires_at

    async def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._send({"type": "websocket.close", "code": CREDENTIAL_EXPIRED, "reason": ""})
