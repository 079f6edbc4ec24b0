"""An asyncpg transaction whose BEGIN carries the tenant, and whose COMMIT belongs to it."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from asyncpg.exceptions import PostgresError
from asyncpg.transaction import Transaction

from asgi_guard.errors import RLSViolationError
from asgi_guard.rls.binding.asyncpg_protocol import BoundProtocol
from asgi_guard.rls.binding.identity import require_same

__all__ = ["GuardedTransaction"]


class GuardedTransaction(Transaction):  # type: ignore[misc] # asyncpg is untyped
    """A transaction or savepoint of a guarded connection.

    Beginning and committing need the tenant it is bound to; rolling back is always possible.
    When the server's state becomes unknown (a cancellation, a lost connection), the connection
    is terminated or, where asyncpg's own pool will settle it, refuses everything until then: a
    pool would else hand out one that is stuck inside somebody's transaction.
    """

    __slots__ = ()

    async def start(self) -> None:
        """Send BEGIN together with the binding, or SAVEPOINT inside a bound transaction.

        Raises:
            RLSViolationError: No tenant, or another one than the outer transaction's; nothing
                was sent.
        """
        connection = self._connection
        guard: BoundProtocol | None = connection._protocol  # noqa: SLF001 - asyncpg has no public name for it
        if guard is None or not guard.in_use:
            await super().start()
            return
        if connection._top_xact is not None:  # noqa: SLF001 - as above
            require_same(guard.owner)
            await super().start()
            return
        guard.arm()
        try:
            await super().start()
            if (unsent := guard.disarm()) is not None:
                # The driver no longer sends BEGIN through its protocol's query(): one more
                # message then, never an unbound transaction.
                with guard.upkeep():
                    await connection.execute(unsent)
        except BaseException as error:
            if guard.disarm() is None and not connection.is_closed():
                guard.abandon(error)
            raise

    async def commit(self) -> None:
        """Commit, or release the savepoint.

        Raises:
            RLSViolationError: This code runs for another tenant, or none. Nothing is committed:
                the transaction is rolled back, the savepoint left as it is.
        """
        try:
            self._require_own()
        except RLSViolationError:
            # Left open, it would go back into SQLAlchemy's pool, which takes it for ended.
            if self._connection._top_xact is self:  # noqa: SLF001 - as above
                await self.rollback()
            raise
        await self._settle(super().commit(), commits=True)

    async def rollback(self) -> None:
        """Roll back, whoever asks."""
        await self._settle(super().rollback())

    async def __aexit__(
        self,
        extype: type[BaseException] | None,
        ex: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        refused: RLSViolationError | None = None
        if extype is None:
            try:
                self._require_own()
            except RLSViolationError as error:
                refused, extype, ex = error, type(error), error
        await self._settle(super().__aexit__(extype, ex, tb), commits=extype is None)
        if refused is not None:
            raise refused

    def _require_own(self) -> None:
        guard: BoundProtocol | None = self._connection._protocol  # noqa: SLF001 - as above
        if guard is not None and guard.in_use:
            require_same(guard.owner)

    async def _settle(self, ending: Any, *, commits: bool = False) -> None:
        guard: BoundProtocol | None = self._connection._protocol  # noqa: SLF001 - as above
        if guard is None:
            await ending  # raises: the connection is closed
            return
        outermost = self._connection._top_xact is self  # noqa: SLF001 - as above
        if commits and outermost:
            guard.arm_reset()
        before, guard.in_use = guard.in_use, False  # upkeep(), without its cost
        try:
            await ending
        except BaseException as error:
            if outermost and not self._connection.is_closed() and _unknown(error, guard):
                guard.abandon(error)
            raise
        finally:
            guard.disarm()
            guard.in_use = before


def _unknown(error: BaseException, guard: BoundProtocol) -> bool:
    """Tell whether the server may still be in the transaction that should have ended.

    An answer that reports an error (a deferred constraint, say) has ended it all the same.
    """
    return not isinstance(error, PostgresError) or guard.is_in_transaction()
