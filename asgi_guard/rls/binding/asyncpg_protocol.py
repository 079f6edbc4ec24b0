"""The one door through which asyncpg sends statements, with a guard in it.

Every public method of an asyncpg connection, prepared statement, cursor and transaction ends in
the connection's protocol object. `BoundProtocol` stands in for it: it lets a statement through
when the transaction it runs in is bound to the tenant of the code that sends it, opens such a
transaction around a lone statement, and raises before sending otherwise.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import Any, Final, TypeAlias

from asyncpg.exceptions import InterfaceError

from asgi_guard.rls.binding.asyncpg_guard import ConnectionGuard
from asgi_guard.rls.binding.clause import Clauses
from asgi_guard.rls.binding.identity import require_same, require_tenant
from asgi_guard.rls.binding.sealed_clause import SealedClauses
from asgi_guard.rls.binding.statement_text import StatementCheck
from asgi_guard.tenancy.current import current_context

__all__ = ["BoundProtocol"]

_IN_PROGRESS: Final = "another operation is in progress"

Sending: TypeAlias = Callable[..., Awaitable[Any]]


def _handed_on(name: str) -> property:
    return property(attrgetter(f"_protocol.{name}"))


class BoundProtocol(ConnectionGuard):
    """Stands in for one connection's ``asyncpg.protocol.Protocol``.

    Args:
        protocol: The driver's own.
        clauses: Renders the binding.
        check: The courtesy check of statement text.
        terminate: Closes the connection at once, without talking to the server.
        connection: Gives the connection that this is the protocol of.
    """

    __slots__ = (
        "_bind_execute",
        "_connection",
        "_get_timeout",
        "_is_cancelling",
        "_named_by_argument",
        "_prepare",
        "_protocol",
        "_query",
        "check",
        "close_portal",
        "close_statement",
        "get_record_class",
        "get_settings",
    )

    def __init__(
        self,
        protocol: Any,
        *,
        clauses: Clauses,
        check: StatementCheck,
        terminate: Callable[[], None],
        connection: Callable[[], Any],
    ) -> None:
        super().__init__(protocol, clauses=clauses, terminate=terminate)
        self._connection = connection
        self._protocol = protocol
        self.check = check
        self._named_by_argument: set[str] = set()
        # Asked for at every statement, so not through the properties below.
        self.get_settings = protocol.get_settings
        self.get_record_class = protocol.get_record_class
        self._is_cancelling = protocol._is_cancelling  # noqa: SLF001 - as below
        self._get_timeout = protocol._get_timeout  # noqa: SLF001 - asyncpg asks for it by this name
        self._prepare: Sending = protocol.prepare
        self._query: Sending = protocol.query
        self._bind_execute: Sending = protocol.bind_execute
        self.close_statement = protocol.close_statement
        self.close_portal = protocol.close_portal

    # What is not a statement is handed on by name, so that a way to send which a later asyncpg
    # invents fails instead of going round the guard. Properties, as a class with a __getattr__
    # pays for it at each look-up of anything: a fifth of what the binding costs.
    _wait_for_cancellation = _handed_on("_wait_for_cancellation")
    abort = _handed_on("abort")
    backend_pid = _handed_on("backend_pid")
    backend_secret = _handed_on("backend_secret")
    close = _handed_on("close")
    get_server_pid = _handed_on("get_server_pid")
    is_closed = _handed_on("is_closed")
    is_ssl = _handed_on("is_ssl")
    queries_count = _handed_on("queries_count")

    # Statements: plain functions that give the driver's own awaitable, as one coroutine more for
    # each message would be a measurable part of a transaction.

    def query(self, query: str, timeout: float | None) -> Awaitable[Any]:
        """Send statement text in one simple query, bound in the same message."""
        if self.armed is not None:
            # A second semicolon is an empty statement, which the server skips.
            query = f"{query};{self.armed}"
            self.armed = None
        elif self.in_use:
            verdict = self.check.judge(query)
            if verdict.leaves:
                self.left_something = True
            if not self._may_send():
                # Several statements in one message are one transaction, and a BEGIN among them
                # takes the ones before it in (PostgreSQL manual, section 54.2.2.1).
                if self.clauses.seals:
                    return self._query_sealed(query, timeout, keep_open=verdict.begins)
                self.owner = require_tenant()
                query = self.clauses.bind(self.owner) + query
        return self._query(query, timeout)

    def prepare(self, stmt_name: str, query: str, *args: Any, **options: Any) -> Awaitable[Any]:
        """Parse a statement: it reads no rows, so it needs a tenant but no transaction."""
        if self.in_use:
            verdict = self.check.judge(query)
            if verdict.leaves:
                self.left_something = True
            if verdict.computes_name:
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
            usual = context is self.owner and context is not None and not self.blocked
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

    def copy_out(self, query: str, *args: Any, **options: Any) -> Awaitable[Any]:
        """Run ``COPY ... TO``."""
        if self.in_use:
            self.check.judge(query)
        return self._send(self._protocol.copy_out, query, *args, **options)

    def copy_in(self, query: str, *args: Any, **options: Any) -> Awaitable[Any]:
        """Run ``COPY ... FROM``."""
        if self.in_use:
            self.check.judge(query)
        return self._send(self._protocol.copy_in, query, *args, **options)

    def _send(self, method: Sending, *args: Any, **options: Any) -> Awaitable[Any]:
        if not self.in_use or self._may_send():
            return method(*args, **options)
        return self._send_alone(method, *args, **options)

    def _may_send(self) -> bool:
        """Tell whether a bound transaction is open; raise when it is another's, or nobody asks."""
        if self.blocked:
            raise InterfaceError(f"cannot perform operation: {self.blocked}")
        if self.is_in_transaction():
            require_same(self.owner)
            return True
        require_tenant()
        return False

    async def _send_alone(self, method: Sending, *args: Any, **options: Any) -> Any:
        """Run one statement in a bound transaction of its own."""
        self.owner = require_tenant()
        self.blocked = _IN_PROGRESS  # another task would slip into this transaction
        try:
            await self._query(f"BEGIN;{self.clauses.bind(self.owner)}", None)
            if self.clauses.seals:
                await self.send_seal()
            answer = await method(*args, **options)
            await self._query("COMMIT", None)
        except BaseException as error:
            self.blocked = ""
            await self._undo(error)
            raise
        self.blocked = ""
        return answer

    async def send_seal(self) -> None:
        """Bind the transaction that has just begun to its owner, by a token that no text shows.

        Raises:
            RLSViolationError: The owner's ids cannot be carried (``RLS_NOT_ENFORCED``).
        """
        clauses, connection = self.clauses, self._connection()
        if not isinstance(clauses, SealedClauses) or connection is None or self.owner is None:
            raise InterfaceError("there is nothing to seal")
        token = clauses.token(self.owner, self.backend)
        in_use, self.in_use = self.in_use, False
        try:
            # As the connection's own methods do inside their lock, which may be held here.
            statement = await connection._get_statement(clauses.statement, None)  # noqa: SLF001
            await self._bind_execute(statement, (token,), "", 1, False, None)
        finally:
            self.in_use = in_use

    async def _query_sealed(
        self,
        query: str,
        timeout: float | None,  # noqa: ASYNC109 - handed on
        *,
        keep_open: bool,
    ) -> Any:
        """Run statement text in a sealed transaction, which ends with it unless it begins one."""
        # Asked again: between the call and its await another may have begun one here.
        if self._may_send():
            return await self._query(query, timeout)
        self.owner = require_tenant()
        self.blocked = _IN_PROGRESS
        try:
            await self._query("BEGIN", None)
            await self.send_seal()
            answer = await self._query(query, timeout)
            if not keep_open and self.is_in_transaction():
                await self._query("COMMIT", None)
        except BaseException as error:
            self.blocked = ""
            await self._undo(error)
            raise
        self.blocked = ""
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
