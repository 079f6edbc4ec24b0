"""What a consumer of notifications holds: an iterator for one tenant, with a bounded mailbox."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self, TypeAlias

from asgi_guard.errors import UnavailableError
from asgi_guard.protocols import Clock
from asgi_guard.rls.binding.identity import require_tenant
from asgi_guard.rls.violations import mismatch
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import current_context, entered_context

__all__ = ["Gap", "GapReason", "Mailbox", "Subscription"]

GapReason: TypeAlias = Literal["subscribed", "reconnected", "overflow", "late"]


@dataclass(frozen=True, slots=True)
class Gap:
    """Something may have been missed up to here: read the state anew, then go on.

    Args:
        reason: ``"subscribed"``, the first item of all; ``"reconnected"``, the connection was
            lost; ``"overflow"``, the consumer was too slow; ``"late"``, a notification came too
            long after it was signed to be told from a replay, or clocks disagree.
    """

    reason: GapReason


class Mailbox:
    """What waits for one consumer, never more than *limit* items.

    Args:
        limit: Items; one more, and a single `Gap` takes the place of all.
    """

    __slots__ = ("_changed", "_items", "_limit", "closed", "failed", "told")

    def __init__(self, limit: int) -> None:
        self._items: deque[str | Gap] = deque()
        self._limit = limit
        self._changed = asyncio.Event()
        self.told = False  # that its channel is listened to
        self.closed = False
        self.failed = False

    def put(self, item: str | Gap) -> None:
        """Add *item*. A gap stands for all that waits: its reader reads the state anew."""
        if len(self._items) >= self._limit and not isinstance(item, Gap):
            item = Gap("overflow")
        if isinstance(item, Gap):
            self._items.clear()
        self._items.append(item)
        self._changed.set()

    def take(self) -> str | Gap | None:
        """Take out the oldest item; None when nothing waits."""
        return self._items.popleft() if self._items else None

    def end(self, *, failed: bool = False) -> None:
        """Let nothing more out."""
        self._items.clear()
        self.closed, self.failed = True, self.failed or failed
        self._changed.set()

    async def wait(self, seconds: float | None) -> None:
        """Wait until something changed, or so long."""
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass


class Subscription:
    """An asynchronous iterator over one channel of one tenant; for one task at a time.

    Made by `TenantListener.listen`. It ends when the context it is used under has expired, or the
    listener is closed. The channel is let go of at the end of ``async with``, or when nothing
    holds the iterator any more.

    Args:
        mailbox: Where the listener puts what arrives.
        owner: Whom it was made for.
        release: Lets go of the channel.
        clock: What decides that a context has expired.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        owner: UserExecutionContext,
        release: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._mailbox = mailbox
        self._owner = owner
        self._release = release
        self._clock = clock

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | Gap:
        """Wait for the next payload, or `Gap`.

        Raises:
            RLSViolationError: No context (``RLS_NOT_ENFORCED``), or another's than the one it was
                made for (``TENANT_MISMATCH``).
            UnavailableError: The listener has failed.
        """
        while (context := self._context()) is not None:
            if self._mailbox.closed:
                break
            if (item := self._mailbox.take()) is not None:
                return item
            end = context.expires_at
            await self._mailbox.wait(None if end is None else max(0.0, end - self._clock.now()))
        if self._mailbox.failed:
            raise UnavailableError("listener_stopped")
        self.close()
        raise StopAsyncIteration

    def close(self) -> None:
        """End it, and let go of the channel."""
        self._release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def _context(self) -> UserExecutionContext | None:
        """Return the context of whoever asks; None when it has expired."""
        context = current_context(clock=self._clock)
        if context is None and entered_context() is not None:
            return None
        context = require_tenant("listen") if context is None else context
        if not self._owner.same_identity(context):
            raise mismatch(
                "this subscription belongs to another tenant or user",
                reason="handle_of_another",
                operation="listen",
            )
        return context
