"""The one door through which asyncpg sends statements, with a guard in it.

Every public method of an asyncpg connection, prepared statement, cursor and transaction ends in
the connection's protocol object. `BoundProtocol` stands in for it: it lets a statement through
when the transaction it runs in is bound to the tenant of the code that sends it, opens such a
transaction around a lone statement, and raises before sending otherwise.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from asyncpg.exceptions import InterfaceError

from asgi_guard.rls.binding.clause import Clauses
from asgi_guard.rls.binding.identity import require_same, require_tenant
from asgi_guard.rls.binding.statement_text import StatementCheck
from asgi_guard.rls.violations import mismatch
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import current_context

__all__ = ["BoundProtocol", "Upkeep"]

_IN_PROGRESS: Final = "another operation is in progress"
_INTERRUPTED: Final = (
    "a transaction was cancelled on this connection while it began or ended. Release it to its pool"
)

Sending: TypeAlias = Callable[..., Awaitable[Any]]


class Upkeep:
    """A block in which a connection sends unbound; nothing for a closed one.

    A class: the generator that ``contextlib`` would make costs four times as much, twice in
    each transaction of a pool.
    """

    __slots__ = ("_before", "_guard")

    def __init__(self, guard: BoundProtocol | None) -> None:
        self._guard = guard
        self._before = False

    def __enter__(self) -> None:
        if self._guard is not None:
            self._before, self._guard.in_use = self._guard.in_use, False

    def __exit__(self, *_error: object) -> None:
        if self._guard is not None:
            self._guard.in_use = self._before


class BoundProtocol:
    """Stands in for one connection's ``asyncpg.protocol.Protocol``.

    Args:
        protocol: The driver's own.
        clauses: Renders the binding.
        check: The courtesy check of statement text.
        terminate: Closes the connection at once, without talking to the server.

    ``pooled`` is True when asyncpg's own pool has handed the connection out: that pool settles
    what was interrupted, and resets the session, before anybody else gets it. ``in_use`` is True
    while the connection is handed out by any pool. While it is not, what is
    sent is the pool's own upkeep (type introspection, pings, resets): it runs unbound, so the
    database shows it no row of any tenant.
    """

    __slots__ = (
        "_bind_execute",
        "_blocked",
        "_get_timeout",
        "_is_cancelling",
        "_named_by_argument",
        "_prepare",
        "_protocol",
        "_query",
        "_terminate",
        "armed",
        "check",
        "clauses",
        "close_portal",
        "close_statement",
        "expected",
        "get_record_class",
        "get_settings",
        "in_use",
        "is_connected",
        "is_in_transaction",
        "owner",
        "pooled",
    )

    def __init__(
        self,
        protocol: Any,
        *,
        clauses: Clauses,
        check: StatementCheck,
        terminate: Callable[[], None],
    ) -> None:
        self._protocol = protocol
        self._terminate = terminate
        self.pooled = False
        self._blocked = ""
        self.clauses = clauses
        self.check = check
        self.in_use = False
        self.owner: UserExecutionContext | None = None
        self.expected: str | None = None
        self.armed: str | None = None
        self._blocked = ""
        self._named_by_argument: set[str] = set()
        # Asked for at every statement; a look-up through __getattr__ costs five times as much.
        self.is_connected = protocol.is_connected
        self.is_in_transaction = protocol.is_in_transaction
        self.get_settings = protocol.get_settings
        self.get_record_class = protocol.get_record_class
        self._is_cancelling = protocol._is_cancelling  # noqa: SLF001 - as below
        self._get_timeout = protocol._get_timeout  # noqa: SLF001 - asyncpg asks for it by this name
        self._prepare: Sending = protocol.prepare
        self._query: Sending = protocol.query
        self._bind_execute: Sending = protocol.bind_execute
        self.close_statement = protocol.close_statement
        self.close_portal = protocol.close_portal

    def __getattr__(self, name: str) -> Any:
        """Hand on what is not a statement: connection state, cancellation, closing."""
        return getattr(self._protocol, name)

    @property
    def tenant_id(self) -> str | None:
        """The tenant that the open transaction is bound to, or the connection was got for."""
        if self.owner is not None and self.is_in_transaction():
            return self.owner.tenant_id
        return self.expected

    def hand_out(self, expected: str | None, *, pooled: bool) -> None:
        """Mark the connection in use, by tenant *expected* alone if that is known already."""
        self.in_use = True
        self.pooled = pooled
        self.expected = expected
        self._blocked = ""

    def take_back(self) -> None:
        """Mark the connection as its pool's."""
        self.in_use = False
        self.expected = None

    def is_owner(self) -> bool:
        """Tell, quickly, whether the very context that began the transaction is current."""
        context = current_context()
        return context is not None and context is self.owner

    def abandon(self, error: BaseException) -> None:
        """Let nobody use the connection after *error* left the server's state unknown.

        A cancelled one goes back to asyncpg's pool, which settles it; any other is terminated.
        """
        if isinstance(error, CancelledError) and self.pooled:
            self._blocked = _INTERRUPTED
        else:
            self._terminate()

    # Arming: the transaction says "the next query is my BEGIN", so no text is matched.

    def arm(self) -> None:
        """Let the next query carry the binding of the current context.

        Raises:
            RLSViolationError: No tenant (``RLS_NOT_ENFORCED``), or another than the one that
                SQLAlchemy got the connection for (``TENANT_MISMATCH``).
        """
        context = current_context() or require_tenant()
        if self._blocked:
            raise InterfaceError(f"cannot perform operation: {self._blocked}")
        if self.expected is not None and self.expected != context.tenant_id:
            raise mismatch(
                "this connection was asked for under another tenant's context. Use one for each",
                reason="connection_of_another",
            )
        self.armed = self.clauses.bind(context)
        self.owner = context

    def arm_probe(self, value: str) -> None:
        """Let the next query carry *value* instead, for the self-test."""
        self.armed = self.clauses.probe(value)

    def disarm(self) -> str | None:
        """Take the binding back; None when it has been sent."""
        unsent, self.armed = self.armed, None
        return unsent

    def upkeep(self) -> Upkeep:
        """Let a block send unbound: ends of transactions, and the pool's resets."""
        return Upkeep(self)

    # Statements: plain functions that give the driver's own awaitable, as one coroutine more for
    # each message would be a measurable part of a transaction.

    def query(self, query: str, timeout: float | None) -> Awaitable[Any]:
        """Send statement text in one simple query, bound in the same message."""
        if self.armed is not None:
            # A second semicolon is an empty statement, which the server skips.
            query = f"{query};{self.armed}"
            self.armed = None
        elif self.in_use:
            self.check.refuse_setting(query)
            self.check.refuse_midway_end(query)
            if not self._may_send():
                # Several statements in one message are one transaction, and a BEGIN among them
                # takes the ones before it in (PostgreSQL manual, section 54.2.2.1).
                self.owner = require_tenant()
                query = self.clauses.bind(self.owner) + query
        return self._query(query, timeout)

    def prepare(self, stmt_name: str, query: str, *args: Any, **options: Any) -> Awaitable[Any]:
        """Parse a statement: it reads no rows, so it needs a tenant but no transaction."""
        if self.in_use:
            self.check.refuse_setting(query)
            if self.check.has_computed_name(query):
                self._named_by_argument.add(query)
            self._may_send()
        return self._prepare(stmt_name, query, *args, **options)

    def bind_execute(  # noqa: PLR0917 - asyncpg's signature; spelled out, as it is the hot one
        self,
        state: Any,
        args: Any,
        portal_name: str,
        limit: int,
        return_extra: bool,  # noqa: FBT001 - as above
        timeout: float | None,
    ) -> Awaitable[Any]:
        """Run a prepared statement."""
        send = self._bind_execute
        if self.in_use:
            if self._named_by_argument and state.query in self._named_by_argument:
                self.check.refuse_named(args)
            context = current_context()
            usual = context is self.owner and context is not None and not self._blocked
            if not (usual and self.is_in_transaction()) and not self._may_send():
                return self._send_alone(
                    send, state, args, portal_name, limit, return_extra, timeout
                )
        return send(state, args, portal_name, limit, return_extra, timeout)

    def bind_execute_many(
        self, state: Any, args: Any, *rest: Any, **options: Any
    ) -> Awaitable[Any]:
        """Run a prepared statement for each set of arguments."""
        if self._named_by_argument and state.query in self._named_by_argument and self.in_use:
            args = [tuple(one) for one in args]
            for one in args:
                self.check.refuse_named(one)
        return self._send(self._protocol.bind_execute_many, state, args, *rest, **options)

    def bind(self, *args: Any, **options: Any) -> Awaitable[Any]:
        """Open a cursor; asyncpg asks for a transaction itself."""
        return self._send(self._protocol.bind, *args, **options)

    def execute(self, *args: Any, **options: Any) -> Awaitable[Any]:
        """Fetch more rows from a cursor."""
        return self._send(self._protocol.execute, *args, **options)

    def copy_out(self, *args: Any, **options: Any) -> Awaitable[Any]:
        """Run ``COPY ... TO``."""
        return self._send(self._protocol.copy_out, *args, **options)

    def copy_in(self, *args: Any, **options: Any) -> Awaitable[Any]:
        """Run ``COPY ... FROM``."""
        return self._send(self._protocol.copy_in, *args, **options)

    def _send(self, method: Sending, *args: Any, **options: Any) -> Awaitable[Any]:
        if not self.in_use or self._may_send():
            return method(*args, **options)
        return self._send_alone(method, *args, **options)

    def _may_send(self) -> bool:
        """Tell whether a bound transaction is open; raise when it is another's, or nobody asks."""
        if self._blocked:
            raise InterfaceError(f"cannot perform operation: {self._blocked}")
        if self.is_in_transaction():
            require_same(self.owner)
            return True
        require_tenant()
        return False

    async def _send_alone(self, method: Sending, *args: Any, **options: Any) -> Any:
        """Run one statement in a bound transaction of its own."""
        self.owner = require_tenant()
        self._blocked = _IN_PROGRESS  # another task would slip into this transaction
        try:
            await self._query(f"BEGIN;{self.clauses.bind(self.owner)}", None)
            answer = await method(*args, **options)
            await self._query("COMMIT", None)
        except BaseException as error:
            self._blocked = ""
            await self._undo(error)
            raise
        self._blocked = ""
        return answer

    async def _undo(self, error: BaseException) -> None:
        # After a cancellation or a timeout nobody knows what the server has run; after any other
        # error the connection knows its own state.
        if not isinstance(error, Exception) or isinstance(error, TimeoutError | OSError):
            self.abandon(error)
        elif self.is_connected() and self.is_in_transaction():
            try:
                await self._query("ROLLBACK", None)
            except BaseException:
                self._terminate()
                raise
