"""The asyncpg connection class that cannot send an unbound statement for anybody."""

from __future__ import annotations

import weakref
from typing import Any, ClassVar, Final

from asyncpg.connection import Connection

from asgi_guard.rls.binding.asyncpg_guard import Upkeep
from asgi_guard.rls.binding.asyncpg_protocol import BoundProtocol
from asgi_guard.rls.binding.asyncpg_transaction import GuardedTransaction
from asgi_guard.rls.binding.clause import Clauses
from asgi_guard.rls.binding.sealed_clause import clauses_for
from asgi_guard.rls.binding.statement_text import StatementCheck
from asgi_guard.rls.seal.keys import SealKeys
from asgi_guard.rls.variables import RLSVariables

__all__ = ["GuardedConnection", "QuickConnection", "connection_class", "guard_of"]

_FORGET_NUMBERS: Final = "DISCARD SEQUENCES;"


class GuardedConnection(Connection):  # type: ignore[misc] # asyncpg is untyped
    """An asyncpg connection behind a `BoundProtocol`. Made by `connection_class`.

    Ask `guard_of`, never ``isinstance``: asyncpg's metaclass calls every connection an instance
    of every connection class. It begins unhanded-out: its pool marks it in use. Until then, and
    from release to the next acquire, what is sent runs unbound and is shown no tenant's row.
    """

    __slots__ = ()
    _clauses: ClassVar[Clauses]
    _check: ClassVar[StatementCheck]

    def __init__(self, protocol: Any, *rest: Any, **options: Any) -> None:
        own = weakref.ref(self)  # a cycle would keep an unclosed connection alive

        def terminate() -> None:
            if (connection := own()) is not None:
                connection.terminate()

        guard = BoundProtocol(
            protocol,
            clauses=self._clauses,
            check=self._check,
            terminate=terminate,
            connection=own,
        )
        super().__init__(guard, *rest, **options)

    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False, deferrable: bool = False
    ) -> GuardedTransaction:
        """Create a transaction or savepoint; arguments as asyncpg's."""
        self._check_open()
        return GuardedTransaction(self, isolation, readonly, deferrable)

    async def _reset(self) -> None:
        guard = self._protocol
        if guard is None or not guard.in_use:
            await super()._reset()
            return
        with guard.upkeep():
            await super()._reset()

    async def reset(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncpg's signature
        """Roll back, and forget what the session keeps, a session-level tenant included."""
        guard: BoundProtocol | None = self._protocol
        with Upkeep(guard):
            await super().reset(timeout=timeout)
            if guard is not None and guard.left_something:
                await self._forget_session(guard)

    async def _forget_session(self, guard: BoundProtocol) -> None:
        """Drop what a reset leaves: temporary tables, prepared statements, sequences' values."""
        await guard.query("DISCARD ALL", None)
        self._mark_stmts_as_closed()
        self._drop_local_statement_cache()
        guard.left_something = False

    def get_reset_query(self) -> str:
        """Return asyncpg's own, and what makes the session forget drawn numbers: lastval()."""
        query: str = super().get_reset_query()
        # In the message that is sent anyway; a class of the user's that resets nothing is left so.
        return f"{query}\n{_FORGET_NUMBERS}" if query else query

    def _set_proxy(self, proxy: Any) -> None:
        # asyncpg's pool calls this when it hands the connection out, and again when it is back.
        super()._set_proxy(proxy)
        guard: BoundProtocol | None = self._protocol
        if guard is None:
            return
        if proxy is None:
            guard.take_back()
        else:
            guard.hand_out(None, pooled=True)


class QuickConnection(GuardedConnection):
    """What is used when nobody brings a class of their own.

    Two of asyncpg's methods, shorter where no logger and no timeout is asked for: what they save
    in each transaction of a pool pays for most of the binding.
    """

    __slots__ = ()

    def execute(self, query: str, *args: Any, timeout: float | None = None) -> Any:
        """As asyncpg's, but BEGIN, COMMIT and the reset go without a coroutine in between."""
        guard: BoundProtocol | None = self._protocol
        # A user's text is judged when it is awaited: another may have begun by then.
        if guard is None or (guard.in_use and guard.armed is None) or args or self._query_loggers:
            return super().execute(query, *args, timeout=timeout)
        self._check_open()
        return guard.query(query, timeout)

    async def reset(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncpg's signature
        """As `GuardedConnection.reset`, but without a timer for "no timeout"."""
        guard: BoundProtocol | None = self._protocol
        if timeout is not None or self._query_loggers or guard is None:
            await super().reset(timeout=timeout)
            return
        in_use, guard.in_use = guard.in_use, False
        try:
            await Connection._reset(self)  # noqa: SLF001 - unbound already, so not our own
            if query := self.get_reset_query():
                await guard.query(query, None)
            if guard.left_something:
                await self._forget_session(guard)
        finally:
            guard.in_use = in_use


def connection_class(
    variables: RLSVariables,
    base: type[Connection] = Connection,
    *,
    seal_keys: SealKeys | None = None,
    transaction_pooler: bool = False,
) -> type[GuardedConnection]:
    """Make the ``connection_class`` for one set of *variables*.

    Args:
        variables: Names of the settings, shape of tenant ids.
        base: An asyncpg connection class of the user's own, whose methods are kept.
        seal_keys: What signs where *variables* are sealed.
        transaction_pooler: There is a pooler in transaction mode in between.

    Raises:
        ConfigError: Sealed variables without keys, or keys without sealed variables.
    """
    bases = (QuickConnection,) if base is Connection else (GuardedConnection, base)
    members: dict[str, Any] = {
        "__slots__": (),
        "__doc__": GuardedConnection.__doc__,
        "_clauses": clauses_for(variables, seal_keys, transaction_pooler=transaction_pooler),
        "_check": StatementCheck(variables, shared_session=transaction_pooler),
    }
    return type("GuardedConnection", bases, members)


def guard_of(connection: Any) -> BoundProtocol | None:
    """Give the guard of an open guarded connection or of a pool's proxy to one, else None."""
    guard = getattr(connection, "_protocol", None)
    return guard if type(guard) is BoundProtocol else None
