"""TenantListener: one connection that listens for every tenant of a process."""

from __future__ import annotations

import asyncio
import contextlib
import random
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

import asyncpg

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.events import emit
from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.protocols import Clock
from asgi_guard.rls.binding.identity import require_tenant
from asgi_guard.rls.seal.keys import SealKeys
from asgi_guard.rls.shared.channel_seal import ChannelSeal, Topic
from asgi_guard.rls.shared.listening import ListeningConnection, open_listening
from asgi_guard.rls.shared.subscription import Gap, Mailbox, Subscription
from asgi_guard.rls.shared.topics import Topics
from asgi_guard.tenancy.current import no_context, use_watch

__all__ = ["TenantListener"]

_FIRST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 10.0
_LOST: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    UnavailableError,
)


class TenantListener:
    """Hears what `notify` sends, and hands each tenant its own.

    One connection of its own, never one of a pool's: a pool's must keep nothing between two
    tenants. No tenant is bound on it, so it sees no row. ``async with``, in the app's lifespan::

        async with TenantListener(dsn, keys) as listener:
            ...
            async for item in listener.listen("notes"):
                if isinstance(item, Gap):
                    ...  # read everything anew
                else:
                    ...  # item is the payload

    A lost connection is opened again, for as long as it takes; every consumer is then told of a
    `Gap`.

    Args:
        dsn: ``postgresql://user:password@host:port/database``: the runtime role, and the server
            itself or a pooler in session mode.
        keys: As for `notify`. All are listened to.
        queue_size: Items that wait for one consumer before it is told of an overflow.
        ping_interval: Seconds of silence after which the connection is tried.
        clock: What decides that a context or a notification has expired.
        **options: As for ``asyncpg.connect``, e.g. ``ssl``.

    Raises:
        ConfigError: A setting cannot be used.
    """

    def __init__(
        self,
        dsn: str,
        keys: SealKeys,
        *,
        queue_size: int = 256,
        ping_interval: float = 30.0,
        clock: Clock = SYSTEM_CLOCK,
        **options: Any,
    ) -> None:
        if type(queue_size) is not int or queue_size < 1:
            raise ConfigError("TenantListener(queue_size)", f"is {queue_size!r}", "Pass 1 or more.")
        if not ping_interval > 0:
            raise ConfigError(
                "TenantListener(ping_interval)", f"is {ping_interval!r}", "Pass seconds."
            )
        self._dsn = dsn
        self._options = options
        self._queue_size = queue_size
        self._ping_interval = ping_interval
        self._clock = clock
        self._topics = Topics(ChannelSeal(keys, clock=clock), clock)
        self._changed = asyncio.Event()
        self._connection: ListeningConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        """Connect and begin to listen.

        Raises:
            ConfigError: It was entered before.
            UnavailableError: The server cannot be reached, or nothing arrives from it.
        """
        if self._loop is not None:
            raise ConfigError("TenantListener", "was entered twice", "Make one for each process.")
        self._loop = asyncio.get_running_loop()
        # Whoever starts it, it works for nobody; what the connection calls back inherits that.
        with no_context(), use_watch(None):
            try:
                self._connection = await self._open()
            except BaseException:
                self._loop = None  # may be tried again
                raise
            self._task = asyncio.create_task(self._serve(), name="asgi_guard listener")
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        self._topics.end(failed=False)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            await self._close()  # a task that was ended before it began closes nothing

    def listen(self, channel: str) -> Subscription:
        """Subscribe the current tenant to *channel*.

        Returns:
            An asynchronous iterator over payloads. Its first item is ``Gap("subscribed")``: from
            there on nothing is missed, so read the state then, not before.

        Raises:
            ConfigError: *channel* is no name, or the listener does not run on this event loop.
            RLSViolationError: There is no tenant (``RLS_NOT_ENFORCED``).
        """
        context = require_tenant("listen")
        topic = Topic(context.tenant_id, channel).checked()
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or loop is not self._loop:
            raise ConfigError(
                "TenantListener.listen", "does not run here", "Enter it: async with listener: ..."
            )
        mailbox = Mailbox(self._queue_size)
        self._topics.add(topic, mailbox)
        self._changed.set()

        def release() -> None:
            mailbox.end()
            self._changed.set()

        subscription = Subscription(mailbox, context, release, self._clock)
        # Whoever breaks out of the loop, or is cancelled in it, does not close the iterator.
        weakref.finalize(subscription, _from_any_thread, loop, release).atexit = False
        return subscription

    async def _open(self) -> ListeningConnection:
        opened = await open_listening(self._dsn, self._topics.deliver, **self._options)
        opened.when_lost(self._changed.set)
        return opened

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _serve(self) -> None:
        reason = Gap("subscribed")
        try:
            while True:
                if self._connection is None:
                    self._connection = await self._open_again()
                    reason = Gap("reconnected")
                try:
                    await self._converse(self._connection, reason)
                except _LOST as error:
                    _report(error)
                finally:
                    await self._close()
        finally:
            # Nobody waits for ever for a task that has ended, for whatever reason.
            self._topics.end(failed=self._task is not None)

    async def _open_again(self) -> ListeningConnection:
        wait = _FIRST_WAIT
        while True:
            try:
                return await self._open()
            except _LOST as error:
                _report(error)
                # Spread out, or every process of a fleet comes back in the same moment.
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
                wait = min(2 * wait, _LONGEST_WAIT)

    async def _converse(self, connection: ListeningConnection, reason: Gap) -> None:
        """Listen to what is wanted, until the connection is lost."""
        heard: set[str] = set()
        while not connection.closed:
            self._changed.clear()
            self._topics.sweep()
            # First: who subscribes again meanwhile is listened to below, and only then told so.
            if old := heard - self._topics.names:
                await connection.unlisten(old)
                heard -= old
            if new := self._topics.names - heard:
                await connection.listen(new)
                heard |= new
            if reason.reason == "reconnected":
                self._topics.gap(reason)
                reason = Gap("subscribed")
            self._topics.heard(heard, reason)
            await self._wait(connection)
        raise ConnectionResetError

    async def _wait(self, connection: ListeningConnection) -> None:
        try:
            async with asyncio.timeout(self._ping_interval):
                await self._changed.wait()
        except TimeoutError:
            await connection.ping()


def _report(error: Exception) -> None:
    reason = getattr(error, "reason", type(error).__name__)
    emit("NOTIFY_LISTENER_LOST", outcome="error", reason=reason, operation="listen")


def _from_any_thread(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(call)
