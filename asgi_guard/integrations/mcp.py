"""MCP: tools run for the caller of their own request, and a session belongs to who opened it.

The server that the MCP SDK makes is mounted inside the app that `Guard` protects::

    server = MCPServer("notes")
    app = Starlette(routes=[Mount("/", guarded_mcp(server))], lifespan=running(server))
    Guard(settings).install(app)

Two things go wrong without it. The SDK knows a session's owner only where its own
authentication found them: with any other, whoever sends an ``mcp-session-id`` that they have seen
is in that session, reads its stream and cancels its calls. And what a session starts keeps the
`contextvars` of the request that opened it.

Needs the ``mcp`` extra (MCP Python SDK 2).
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Iterable, MutableMapping
from typing import Any, Final

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.constant_time import equal
from asgi_guard._internal.extras import require_extra
from asgi_guard._internal.responses import send_problem
from asgi_guard.errors import ConfigError, ContextMissingError, GuardError, RequestInvalidError
from asgi_guard.protocols import ASGIApp, Clock, Receive, Scope, Send
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import require_context, use_context
from asgi_guard.tenancy.ownership import not_owned, owner_label
from asgi_guard.tenancy.reporting import report

require_extra("mcp", feature=__name__, extra="mcp")

from mcp.server.context import (  # noqa: E402 - a missing extra is named first
    CallNext,
    HandlerResult,
    ServerRequestContext,
)
from mcp.server.mcpserver import MCPServer  # noqa: E402 - as above
from mcp.shared.exceptions import MCPError  # noqa: E402 - as above

__all__ = ["OwnedMCPSessions", "TenantCalls", "guarded_mcp"]

_OPERATION: Final = "mcp"
_SESSION: Final = b"mcp-session-id"
_LAST_EVENT: Final = b"last-event-id"
_SCOPE_KEY: Final = "asgi_guard.mcp_context"
_MAC_LENGTH: Final = 32  # hexadecimal characters, 128 bits
_KEY_LENGTH: Final = 32
_NO_CONTEXT: Final = -32001  # of the range that JSON-RPC 2.0 leaves to servers


class TenantCalls:
    """MCP server middleware: each message is handled for the caller of its own HTTP request.

    What the handling task inherited does not count: it may have been started by another request.
    Without an HTTP request (stdio, streams in memory) there is nobody to be found, and every
    message is refused, unless a context was given.

    Args:
        context: Whom a server without HTTP works for: the one user whose process it is.
        clock: Tells whether a context has expired.

    Raises:
        ConfigError: *context* is no `UserExecutionContext`.
    """

    def __init__(
        self, *, context: UserExecutionContext | None = None, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        if context is not None and not isinstance(context, UserExecutionContext):
            raise ConfigError(
                "TenantCalls(context)",
                f"is a {type(context).__name__}",
                "Pass a UserExecutionContext.",
            )
        self._context = context
        self._clock = clock

    async def __call__(
        self, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """Handle one message.

        Raises:
            MCPError: There is no context for it, or it has expired.
        """
        context = self._context_of(ctx)
        if context is None:
            raise _refused("no_context", ctx.method)
        with use_context(context):
            try:
                require_context(_OPERATION, clock=self._clock)
            except ContextMissingError as error:
                raise _refused("context_expired", ctx.method) from error
            return await call_next(ctx)

    def _context_of(self, ctx: ServerRequestContext[Any, Any]) -> UserExecutionContext | None:
        if ctx.request is None:
            return self._context
        found = ctx.request.scope.get(_SCOPE_KEY)
        return found if isinstance(found, UserExecutionContext) else None


class OwnedMCPSessions:
    """ASGI middleware around an MCP app: session ids work for the user they were given to.

    The id that goes out carries a MAC over itself and its owner; one that comes in with another
    user's credential, or none that was given here, is answered as if the session did not exist
    (404), with the event ``AGENT_ACCESS_REFUSED``. Nothing is stored. ``last-event-id`` is taken
    out of requests: an event store replays by that id alone, whoever sends it.

    Stands inside `TenantContextMiddleware`. The app inside must contain `TenantCalls`.

    Args:
        app: The MCP app.
        key: 32 bytes at least, the same in every process that serves a session; random by
            default.
        clock: Tells whether the context has expired.

    Raises:
        ConfigError: The key is too short.
    """

    def __init__(
        self, app: ASGIApp, *, key: bytes | None = None, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        if key is not None and (not isinstance(key, bytes) or len(key) < _KEY_LENGTH):
            raise ConfigError(
                "OwnedMCPSessions(key)", "is shorter than 32 bytes", "Use secrets.token_bytes(32)."
            )
        self.app = app
        self._key = key or secrets.token_bytes(_KEY_LENGTH)
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request for the current context."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        try:
            context = require_context(_OPERATION, clock=self._clock)
            label = owner_label(context).encode("ascii")
            headers = self._inwards(scope["headers"], label)
        except GuardError as error:
            await send_problem(scope, receive, send, error)
            return

        def marked(message: MutableMapping[str, Any]) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                outwards = self._outwards(message.get("headers", ()), label)
                return send({**message, "headers": outwards})
            return send(message)

        await self.app({**scope, "headers": headers, _SCOPE_KEY: context}, receive, marked)

    def _inwards(
        self, headers: Iterable[tuple[bytes, bytes]], label: bytes
    ) -> list[tuple[bytes, bytes]]:
        kept, seen = [], 0
        for name, value in headers:
            if name == _SESSION:
                seen += 1
                kept.append((name, self._opened(value, label)))
            elif name != _LAST_EVENT:
                kept.append((name, value))
        if seen > 1:
            raise RequestInvalidError("duplicate_mcp_session_id")
        return kept

    def _outwards(
        self, headers: Iterable[tuple[bytes, bytes]], label: bytes
    ) -> list[tuple[bytes, bytes]]:
        return [
            (name, b"%b.%b" % (value, self._mac(value, label)))
            if name.lower() == _SESSION
            else (name, value)
            for name, value in headers
        ]

    def _opened(self, value: bytes, label: bytes) -> bytes:
        session, _, mac = value.rpartition(b".")
        if not session or not equal(mac, self._mac(session, label)):
            raise not_owned("session_of_another", _OPERATION)
        return session

    def _mac(self, session: bytes, label: bytes) -> bytes:
        # The label has one length, so the two cannot be divided differently.
        digest = hmac.digest(self._key, label + session, "sha256").hex()
        return digest[:_MAC_LENGTH].encode("ascii")


def guarded_mcp(
    server: MCPServer[Any], *, key: bytes | None = None, **options: Any
) -> OwnedMCPSessions:
    """Return *server* as an ASGI app whose tools run for their callers.

    Args:
        server: An `MCPServer`; `TenantCalls` is put in front of its middleware.
        key: See `OwnedMCPSessions`.
        **options: Of ``server.streamable_http_app``.

    Raises:
        ConfigError: *server* is no `MCPServer`, or the key is too short.

    Mounted apps get no lifespan of their own: run ``server.session_manager.run()`` in the lifespan
    of the app around it, as the SDK's manual says.
    """
    if not isinstance(server, MCPServer):
        raise ConfigError(
            "guarded_mcp(server)", f"is a {type(server).__name__}", "Pass an MCPServer."
        )
    server.middleware.insert(0, TenantCalls())
    return OwnedMCPSessions(server.streamable_http_app(**options), key=key)


def _refused(reason: str, method: str) -> MCPError:
    report("AGENT_ACCESS_REFUSED", reason=reason, operation=f"{_OPERATION} {method}"[:200])
    return MCPError(_NO_CONTEXT, "no user is known for this call")
