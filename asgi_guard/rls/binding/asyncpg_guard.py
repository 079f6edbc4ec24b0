"""What is known about one asyncpg connection: who has it, whom it works for, what it sends next."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable
from typing import Any, Final

from asyncpg.exceptions import InterfaceError

from asgi_guard.rls.binding.clause import Clauses
from asgi_guard.rls.binding.identity import require_tenant
from asgi_guard.rls.violations import mismatch
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import current_context

__all__ = ["ConnectionGuard", "Upkeep"]

_INTERRUPTED: Final = (
    "a transaction was cancelled on this connection while it began or ended. Release it to its pool"
)


class Upkeep:
    """A block in which a connection sends unbound; nothing for a closed one.

    A class: the generator that ``contextlib`` would make costs four times as much, twice in
    each transaction of a pool.
    """

    __slots__ = ("_before", "_guard")

    def __init__(self, guard: ConnectionGuard | None) -> None:
        self._guard = guard
        self._before = False

    def __enter__(self) -> None:
        if self._guard is not None:
            self._before, self._guard.in_use = self._guard.in_use, False

    def __exit__(self, *_error: object) -> None:
        if self._guard is not None:
            self._guard.in_use = self._before


class ConnectionGuard:
    """The state that decides what a connection may send, and as whom.

    Args:
        protocol: The driver's own protocol object.
        clauses: Renders the binding.
        terminate: Closes the connection at once, without talking to the server.

    ``pooled`` is True when asyncpg's own pool has handed the connection out: that pool settles
    what was interrupted, and resets the session, before anybody else gets it. ``in_use`` is True
    while the connection is handed out by any pool. While it is not, what is sent is the pool's
    own upkeep (type introspection, pings, resets): it runs unbound, so the database shows it no
    row of any tenant. ``owner`` is whom the open transaction is bound to, ``expected`` the tenant
    the connection was got for, ``armed`` what the next query carries, ``blocked`` why nothing
    may be sent, ``left_something`` that the session may not be as it was before,
    ``backend`` the server process, where a seal names it.
    """

    __slots__ = (
        "_terminate",
        "armed",
        "backend",
        "blocked",
        "clauses",
        "expected",
        "in_use",
        "is_connected",
        "is_in_transaction",
        "left_something",
        "owner",
        "pooled",
    )

    def __init__(self, protocol: Any, *, clauses: Clauses, terminate: Callable[[], None]) -> None:
        self._terminate = terminate
        self.clauses = clauses
        self.in_use = False
        self.pooled = False
        self.blocked = ""
        self.left_something = False
        self.armed: str | None = None
        self.backend = 0
        self.expected: str | None = None
        self.owner: UserExecutionContext | None = None
        self.is_connected: Callable[[], bool] = protocol.is_connected
        self.is_in_transaction: Callable[[], bool] = protocol.is_in_transaction

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
        self.blocked = ""

    def take_back(self) -> None:
        """Mark the connection as its pool's."""
        self.in_use = False
        self.expected = None

    def abandon(self, error: BaseException) -> None:
        """Let nobody use the connection after *error* left the server's state unknown.

        A cancelled one goes back to asyncpg's pool, which settles it; any other is terminated.
        """
        if isinstance(error, CancelledError) and self.pooled:
            self.blocked = _INTERRUPTED
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
        if self.blocked:
            raise InterfaceError(f"cannot perform operation: {self.blocked}")
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
