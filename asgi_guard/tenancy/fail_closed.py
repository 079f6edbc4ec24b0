"""FailClosedMiddleware: whatever goes wrong inside becomes an answer, and never a 200.

Three ways lead past a host's own error handling, and all three end here:

- an error that the host lets through (a raw ASGI app, a WebSocket handler) would leave the
  answer to the server, without the headers of the layers outside this one;
- a handler that catches an isolation error and carries on would answer 200 over a wall that was
  about to be crossed;
- an app that returns without a word would leave the server to invent a response.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final

from asgi_guard._internal.responses import POLICY_VIOLATION, send_problem
from asgi_guard.errors import GuardError
from asgi_guard.protocols import ASGIApp, Receive, Scope, Send
from asgi_guard.tenancy.current import RequestWatch, end_watch, start_watch
from asgi_guard.tenancy.reporting import ReportedViolationError, report

__all__ = ["FailClosedMiddleware", "InternalError", "expect_violation", "record_error"]

_INTERNAL_ERROR: Final = 1011  # RFC 6455 section 7.4.1
_SERVER_ERRORS: Final = 500
_DECIDES: Final = frozenset(
    {
        "http.response.start",
        "websocket.http.response.start",
        "websocket.accept",
        "websocket.close",
    }
)

# The standard logger prints a traceback without local variables; renderers that show them would
# put tokens and a tenant's rows into the log.
_log = logging.getLogger("asgi_guard")


class InternalError(GuardError):
    """The app failed in its own way; that much is all the caller learns."""

    code = "internal_error"


class FailClosedMiddleware:
    """Answer errors of *app* with ``application/problem+json``; hold back its false successes.

    HTTP: a `GuardError` is answered with its own status and code; any other exception with 500
    ``internal_error``, and is raised again for the server's log. After a violation that was
    reported in this request no response of the app goes out: one that has not started is replaced
    by a 500 with the violation's code, one that has started is cut off by raising.

    WebSocket: before the handshake is accepted as for HTTP; afterwards the connection is closed
    with 1008 (a refusal) or 1011 (anything else), also when the app hid a violation and returned.

    Does not touch a response that the app sends on purpose.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; lifespan passes through untouched."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        watch, token = start_watch()
        exchange = _Exchange(scope, receive, send, watch)
        try:
            await self.app(
                scope, receive if scope["type"] == "http" else exchange.receive, exchange.send
            )
            if exchange.open and (watch.failure is not None or not exchange.decided):
                await exchange.answer(watch.failure or InternalError("no response"))
        except GuardError as error:
            await exchange.answer(error)
        except Exception as error:
            if exchange.open:  # it may be a group with a violation inside
                await exchange.answer(watch.failure or InternalError(type(error).__name__))
            raise
        finally:
            end_watch(token)


class _Exchange:
    """One connection: what has been said on it, and what may still be said.

    ``decided``: the response or the handshake's answer has begun. ``accepted``: a WebSocket is
    open. ``gone``: its client has left. ``replaced``: the answer was ours, and what the app still
    sends is dropped.
    """

    __slots__ = (
        "_connected",
        "_receive",
        "_scope",
        "_send",
        "_watch",
        "accepted",
        "decided",
        "gone",
        "replaced",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, watch: RequestWatch) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._watch = watch
        self._connected = False
        self.decided = False
        self.accepted = False
        self.gone = False
        self.replaced = False

    @property
    def open(self) -> bool:
        """Tell whether this layer may still give the answer."""
        return not self.replaced and (not self.decided or self.accepted)

    def send(self, message: MutableMapping[str, Any]) -> Awaitable[None]:
        """Pass a message of the app on, unless something went wrong before it."""
        if self._watch.failure is not None or self.replaced:
            return self._hold_back(message)
        kind = message["type"]
        if kind in _DECIDES:
            self.decided = True
            self.accepted = kind == "websocket.accept"
        return self._send(message)

    async def receive(self) -> MutableMapping[str, Any]:
        """Pass a WebSocket message to the app; remember the handshake and the end."""
        message = await self._receive()
        self._connected = True
        if message["type"] == "websocket.disconnect":
            self.decided, self.accepted, self.gone = True, False, True
        return message

    async def answer(self, error: GuardError) -> None:
        """Give *error* as the answer.

        Raises:
            GuardError: *error* itself: the response has begun, and only breaking the connection
                keeps it from looking whole.
        """
        if self.replaced:
            return
        if not self.open and not self.gone:
            raise error
        self.replaced = True
        record_error(error)
        if self.gone:
            return
        if self.accepted:
            code = POLICY_VIOLATION if _is_refusal(error) else _INTERNAL_ERROR
            await self._send({"type": "websocket.close", "code": code, "reason": error.code})
            return
        await send_problem(self._scope, self._handshake, self._send, error)

    async def _hold_back(self, message: MutableMapping[str, Any]) -> None:
        error = self._watch.failure
        if self.replaced or error is None:
            return
        if message.get("status", _SERVER_ERRORS) < _SERVER_ERRORS:
            _log.error("a response was held back: %s", error)
        await self.answer(error)

    async def _handshake(self) -> MutableMapping[str, Any]:
        """Return the handshake that `send_problem` waits for, also when the app has taken it."""
        return {"type": "websocket.connect"} if self._connected else await self._receive()


@contextmanager
def expect_violation() -> Iterator[RequestWatch]:
    """Run a block that tries what must fail: a demonstration of attacks, a self-test.

    A violation in it raises and leaves its event as ever, but does not decide the answer of the
    request around it; it is in the ``failure`` of what is given.
    """
    watch, token = start_watch()
    try:
        yield watch
    finally:
        end_watch(token)


def record_error(error: GuardError) -> None:
    """Tell the operator why a request failed: a refusal as an event, a fault with its traceback.

    Violations were reported where they happened, and failures of the app are logged by the
    server, which gets them raised again.
    """
    if _is_refusal(error):
        reason = getattr(error, "reason", error.code)
        report("REQUEST_REFUSED", reason=reason, details={"code": error.code})
    elif not isinstance(error, InternalError | ReportedViolationError):
        _log.error("%s", error, exc_info=error)


def _is_refusal(error: GuardError) -> bool:
    """Tell whether the caller can mend it; everything else is for the operator."""
    return getattr(error, "status", _SERVER_ERRORS) < _SERVER_ERRORS
