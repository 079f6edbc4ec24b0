"""A WebSocket that is open only while its credential holds: closed with 4401 when it does not.

A request is over before its credential is; a socket may stay open for days, through logout,
revocation and expiry. Whoever authenticated the handshake may leave a `SocketLease` in the scope;
the authentication middleware then runs the app under it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from asgi_guard._internal.asgi import client_of
from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.events import emit
from asgi_guard._internal.principal import principal_of, session_hash
from asgi_guard._internal.request_id import request_id_of
from asgi_guard.errors import AuthenticationError, UnavailableError
from asgi_guard.protocols import ASGIApp, Clock, Receive, Scope, Send
from asgi_guard.tenancy.websocket_expiry import CREDENTIAL_EXPIRED

__all__ = ["TRY_AGAIN_LATER", "SocketLease", "Ticker", "lease_of", "serve_leased", "take_lease"]

TRY_AGAIN_LATER: Final = 1013  # IANA WebSocket close code registry
_KEY: Final = "asgi_guard.socket_lease"

Ticker = Callable[[float], Awaitable[None]]
"""Waits for seconds; tests pass their own."""
Check = Callable[[bool], Awaitable[object]]
Subscribe = Callable[[Callable[[], None]], Callable[[], None]]


@dataclass(slots=True)
class SocketLease:
    """What holds of one socket.

    Args:
        echo: Subprotocol to select if the app selects none: the one that carried the credential.
        check: Raises when the credential holds no more; told whether the client has sent
            anything since the last time.
        subscribe: Is handed a function that asks for a check at once, from any thread; returns
            one that ends this.
        every: Seconds between checks: the bound within which the end of a credential in another
            process closes the socket.
        ticker: Waits between checks.
        expires_at: Unix seconds at which a check is due in any case.
        clock: Where "now" comes from.
    """

    echo: str | None = None
    check: Check | None = None
    subscribe: Subscribe | None = None
    every: float = 10.0
    ticker: Ticker = anyio.sleep
    expires_at: float | None = None
    clock: Clock = field(default=SYSTEM_CLOCK)

    @property
    def pause(self) -> float:
        """Seconds until the next check."""
        if self.expires_at is None:
            return self.every
        return max(0.0, min(self.every, self.expires_at - self.clock.now()))


def lease_of(scope: Scope) -> SocketLease:
    """Return the lease of a handshake that is being authenticated; a new one at first."""
    lease: SocketLease = scope.setdefault(_KEY, SocketLease())
    return lease


def take_lease(scope: Scope) -> SocketLease | None:
    """Remove and return the lease that authenticators left in *scope*, if one did."""
    lease: SocketLease | None = scope.pop(_KEY, None)
    return lease


async def serve_leased(
    lease: SocketLease, app: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> None:
    """Run *app* on one WebSocket for as long as *lease* holds.

    When it holds no more, the client gets a close with 4401 (1013 if nobody can say), the app a
    disconnect, and nothing that the app sends goes out. The app itself is not cancelled.
    """
    socket = _LeasedSocket(lease, scope, receive, send)
    if lease.check is None:
        await app(scope, receive, socket.send)
        return
    failure: Exception | None = None
    async with anyio.create_task_group() as watching:
        unsubscribe = socket.watch(watching.start_soon)
        try:
            await app(scope, socket.receive, socket.send)
        except Exception as error:  # noqa: BLE001 - raised below: the group would wrap it
            failure = error
        finally:
            unsubscribe()
            watching.cancel_scope.cancel()
    if failure is not None:
        raise failure


class _LeasedSocket:
    """The two channels of one socket, and the watch over it."""

    def __init__(self, lease: SocketLease, scope: Scope, receive: Receive, send: Send) -> None:
        self._lease = lease
        self._scope = scope
        self._receive = receive
        self._send = send
        self._code = 0
        self._closed = False
        self._heard = False
        # How often it was suspected to have ended, and up to which time it was cleared of that. It
        # is suspected from the start: it may have ended between its proof and the watch over it.
        self._suspected, self._cleared = 1, 0
        self._looking = asyncio.Lock()
        self._due = asyncio.Event()
        self._waiting: anyio.CancelScope | None = None

    def watch(self, start_soon: Callable[..., object]) -> Callable[[], None]:
        """Start checking, with *start_soon*; return what ends the subscription."""
        loop = asyncio.get_running_loop()

        def wake() -> None:
            self._suspected += 1  # before the next message, if that comes before the watch
            loop.call_soon_threadsafe(self._due.set)

        start_soon(self._tick)
        start_soon(self._watch)
        return self._lease.subscribe(wake) if self._lease.subscribe else _nothing

    async def receive(self) -> MutableMapping[str, Any]:
        """Return the next message, or a disconnect once the credential has ended."""
        if self._open:
            with anyio.CancelScope() as self._waiting:
                message = await self._receive()
                await self._clear()
                if self._open:
                    self._heard |= message["type"] == "websocket.receive"
                    self._closed |= message["type"] == "websocket.disconnect"
                    return message
        return {"type": "websocket.disconnect", "code": self._code, "reason": ""}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Send *message*, naming the subprotocol that an acceptance left out.

        Raises:
            OSError: The credential has ended; what ASGI asks of a send to a closed connection.
        """
        kind = message["type"]
        if self._closed and kind == "websocket.close":
            return
        await self._clear()
        if not self._open:
            raise OSError("the credential of this WebSocket has ended")
        if kind == "websocket.accept" and self._lease.echo and not message.get("subprotocol"):
            message = {**message, "subprotocol": self._lease.echo}
        self._closed = kind == "websocket.close"
        await self._send(message)

    async def _clear(self) -> None:
        """Let nothing pass while it is suspected, also while somebody else is asking already."""
        if self._cleared < self._suspected:
            async with self._looking:
                if self._cleared < self._suspected:
                    await self._look()

    @property
    def _open(self) -> bool:
        return not self._code

    async def _tick(self) -> None:
        while True:
            await self._lease.ticker(self._lease.pause)
            self._due.set()

    async def _watch(self) -> None:
        while self._open:
            await self._due.wait()
            self._due.clear()
            async with self._looking:
                await self._look()

    async def _look(self) -> None:
        check, heard, suspected = self._lease.check, self._heard, self._suspected
        self._heard = False
        if check is None or not self._open:
            return
        try:
            await check(heard)
        except AuthenticationError as refusal:
            await self._end(CREDENTIAL_EXPIRED, refusal.reason)
        except UnavailableError as failure:
            await self._end(TRY_AGAIN_LATER, failure.reason)
        except Exception:  # noqa: BLE001 - whatever it is, nobody can say that it holds
            await self._end(TRY_AGAIN_LATER, "socket_check_failed")
        self._cleared = suspected

    async def _end(self, code: int, reason: str) -> None:
        if not self._open:
            return  # two looked at once
        self._code = code
        self._report(reason)
        if not self._closed:
            self._closed = True
            with suppress(Exception):  # a client that is gone needs no goodbye
                await self._send({"type": "websocket.close", "code": code, "reason": ""})
        if self._waiting is not None:
            self._waiting.cancel()

    def _report(self, reason: str) -> None:
        principal = principal_of(self._scope)
        emit(
            "SOCKET_CLOSED",
            outcome="denied" if self._code == CREDENTIAL_EXPIRED else "error",
            reason=reason,
            request_id=request_id_of(self._scope),
            tenant_id=principal.tenant_id if principal else None,
            user_id=principal.user_id if principal else None,
            session_id=session_hash(principal.session_id) if principal else None,
            auth_method=principal.auth_method if principal else None,
            client=client_of(self._scope),
        )


def _nothing() -> None:
    """End no subscription."""
