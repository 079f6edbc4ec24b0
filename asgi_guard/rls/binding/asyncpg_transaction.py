"""An asyncpg transaction whose BEGIN carries the tenant, and whose COMMIT belongs to it."""

from __future__ import annotations

from types import TracebackType

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
            if guard.armed is not None:
                unsent = guard.disarm()
                # The driver no longer sends BEGIN through its protocol's query(): one more
                # message then, never an unbound transaction.
                with guard.upkeep():
                    await connection.execute(unsent)
            if guard.clauses.seals:
                await guard.send_seal()
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
        guard, outermost, before = self._prepare_end(commits=True)
        try:
            await super().commit()
        except BaseException as error:
            self._after_failed_end(guard, error, outermost=outermost)
            raise
        finally:
            if guard is not None:
                guard.armed = None
                guard.in_use = before

    async def rollback(self) -> None:
        """Roll back, whoever asks."""
        guard, outermost, before = self._prepare_end(commits=False)
        try:
            await super().rollback()
        except BaseException as error:
            self._after_failed_end(guard, error, outermost=outermost)
            raise
        finally:
            if guard is not None:
                guard.in_use = before

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
        guard, outermost, before = self._prepare_end(commits=extype is None)
        try:
            await super().__aexit__(extype, ex, tb)
        except BaseException as error:
            self._after_failed_end(guard, error, outermost=outermost)
            raise
        finally:
            if guard is not None:
                guard.armed = None
                guard.in_use = before
        if refused is not None:
            raise refused

    def _require_own(self) -> None:
        guard: BoundProtocol | None = self._connection._protocol  # noqa: SLF001 - as above
        if guard is not None and guard.in_use:
            require_same(guard.owner)

    # What `BoundProtocol.upkeep` does, without the cost of a context manager: for each of the
    # two ends of every transaction that is a measurable part.

    def _prepare_end(self, *, commits: bool) -> tuple[BoundProtocol | None, bool, bool]:
        guard: BoundProtocol | None = self._connection._protocol  # noqa: SLF001 - as above
        outermost = self._connection._top_xact is self  # noqa: SLF001 - as above
        if guard is None:  # the connection is closed: asyncpg will say so
            return None, outermost, False
        if commits and outermost and not guard.pooled:
            # A function in the database can set the tenant for the session where no text shows
            # it, and the commit would keep that. asyncpg's pool resets the session when it gets
            # the connection back; SQLAlchemy's does not, so COMMIT carries it.
            guard.armed = guard.clauses.reset
        before, guard.in_use = guard.in_use, False
        return guard, outermost, before

    def _after_failed_end(
        self, guard: BoundProtocol | None, error: BaseException, *, outermost: bool
    ) -> None:
        if guard is None or not outermost or self._connection.is_closed():
            return
        # An answer that reports an error (a deferred constraint, say) has ended it all the same.
        if not isinstance(error, PostgresError) or guard.is_in_transaction():
            guard.abandon(error)
