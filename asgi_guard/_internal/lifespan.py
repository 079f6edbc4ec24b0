"""The lifespan protocol (ASGI 3.0, "Lifespan Protocol"), with a check before "complete".

The check runs after the app's own start-up, which may create the tables or open the pools that it
looks at, and before the server is told to accept connections.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from asgi_guard.errors import NotReadyError
from asgi_guard.protocols import ASGIApp, Receive, Scope, Send

__all__ = ["CheckedLifespan"]


class CheckedLifespan:
    """Run the lifespan of *app*, and report its start-up complete only once *check* has passed.

    Args:
        app: May or may not speak lifespan. One that raises before it takes ``lifespan.startup``
            (Django, apps that know HTTP alone), or returns without an answer, does not: the
            protocol is then answered for it.
        check: Raises `NotReadyError` when nothing may be served.
        close: Run once the app has shut down, before the server is told so: it stops the loop.
    """

    __slots__ = (
        "_answered",
        "_app",
        "_check",
        "_close",
        "_receive",
        "_refused",
        "_send",
        "_taken",
    )

    def __init__(
        self,
        app: ASGIApp,
        check: Callable[[], Awaitable[None]],
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._app = app
        self._check = check
        self._close = close
        self._taken = False
        self._answered = False
        self._refused: NotReadyError | None = None

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the lifespan scope once.

        Raises:
            NotReadyError: The check failed. The server has been told with
                ``lifespan.startup.failed``, and the app was shut down; raising tells test
                clients, which stop at nothing less.
        """
        self._receive, self._send = receive, send
        try:
            await self._app(scope, self._to_app, self._from_app)
        except Exception:
            if self._refused is None and self._taken:
                raise
        if self._refused is None and not self._answered:
            await self._answer_alone()
        if self._refused is not None:
            await self._end()
            raise self._refused

    async def _end(self) -> None:
        if self._close is not None:
            await self._close()

    async def _to_app(self) -> MutableMapping[str, Any]:
        if self._refused is not None:
            return {"type": "lifespan.shutdown"}  # what it has started must be closed
        message = await self._receive()
        self._taken = True
        return message

    async def _from_app(self, message: MutableMapping[str, Any]) -> None:
        if self._refused is not None:
            return  # the server has its answer
        self._answered = True
        if message["type"] == "lifespan.startup.complete":
            await self._complete()
            return
        await self._end()  # every other message is the app's last
        await self._send(message)

    async def _complete(self) -> None:
        try:
            await self._check()
        except NotReadyError as refused:
            self._refused = refused
            await self._send({"type": "lifespan.startup.failed", "message": str(refused)})
        else:
            await self._send({"type": "lifespan.startup.complete"})

    async def _answer_alone(self) -> None:
        if not self._taken:
            await self._receive()
        await self._complete()
        if self._refused is None:
            await self._receive()
            await self._end()
            await self._send({"type": "lifespan.shutdown.complete"})
