"""The one connection that listens: opened, proven to hear, and told what to listen to.

The text of a statement can be read by the same role, other tenants' injected SQL included
(``pg_stat_activity``, ``pg_stat_statements``). LISTEN takes no parameters, so the names travel as
one into a setting, and a block that never changes listens to what is there.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable
from typing import Any, Final

import asyncpg
from asyncpg.connection import Connection

from asgi_guard.errors import UnavailableError
from asgi_guard.rls.binding.connect_errors import connect_in_plain_words

__all__ = ["ListeningConnection", "open_listening"]

_STATE: Final = "SELECT pg_catalog.set_config('asgi_guard_listener.names', $1, true)"
_BATCH: Final = 500
_PATIENCE: Final = 10.0  # seconds for the server to answer at all


def _block(verb: str) -> str:
    return f"""\
DO $asgi_guard$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY string_to_array(current_setting('asgi_guard_listener.names'), ',') LOOP
        EXECUTE format('{verb} %I', name);
    END LOOP;
END
$asgi_guard$"""


_LISTEN: Final = _block("LISTEN")
_UNLISTEN: Final = _block("UNLISTEN")


class ListeningConnection:
    """A connection that reads no rows: no tenant is ever bound on it.

    Args:
        driver: The driver's connection.
    """

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        return bool(self._driver.is_closed())

    def when_lost(self, call: Callable[[], None]) -> None:
        """Call *call* when the connection ends, whoever ended it."""
        self._driver.add_termination_listener(lambda _connection: call())

    async def listen(self, names: Iterable[str]) -> None:
        """Listen to channels as well."""
        await self._tell(_LISTEN, names)

    async def unlisten(self, names: Iterable[str]) -> None:
        """Stop listening to channels."""
        await self._tell(_UNLISTEN, names)

    async def ping(self) -> None:
        """Find out whether the server still answers."""
        await self._driver.execute("SELECT 1", timeout=_PATIENCE)

    async def notify(self, name: str) -> None:
        """Send an empty notification."""
        await self._driver.execute("SELECT pg_catalog.pg_notify($1, '')", name, timeout=_PATIENCE)

    async def close(self) -> None:
        """Close, without waiting for a server that does not answer."""
        try:
            await self._driver.close(timeout=1)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self._driver.terminate()

    async def _tell(self, block: str, names: Iterable[str]) -> None:
        listed = sorted(names)
        for start in range(0, len(listed), _BATCH):
            async with asyncio.timeout(_PATIENCE), self._driver.transaction():
                await self._driver.execute(_STATE, ",".join(listed[start : start + _BATCH]))
                await self._driver.execute(block)


async def open_listening(
    dsn: str, deliver: Callable[[str, str], None], **options: Any
) -> ListeningConnection:
    """Connect, and see a notification arrive before anybody relies on it.

    Args:
        dsn: Of the runtime role, to the server itself.
        deliver: Called with the name of the channel and the payload.
        **options: As for ``asyncpg.connect``.

    Raises:
        ConfigError: The DSN cannot be read.
        UnavailableError: The server cannot be reached or does not let us in, or what is sent to
            a channel does not arrive (``"listener_deaf"``): there is a pooler in between.
    """
    proof = f"ag_{secrets.token_hex(20)}"
    arrived = asyncio.Event()

    def hear(name: str, payload: str) -> None:
        if name == proof:
            arrived.set()
        else:
            deliver(name, payload)

    class Hearing(Connection):  # type: ignore[misc] # asyncpg is untyped
        # What add_listener() would do here it cannot do without LISTEN in clear.
        __slots__ = ()

        def _process_notification(self, _pid: int, channel: str, payload: str) -> None:
            hear(channel, payload)

    driver = await connect_in_plain_words(
        asyncpg.connect, dsn, connection_class=Hearing, timeout=_PATIENCE, **options
    )
    opened = ListeningConnection(driver)
    try:
        await opened.listen([proof])
        await opened.notify(proof)
        async with asyncio.timeout(_PATIENCE):
            await arrived.wait()
        await opened.unlisten([proof])
    except (TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        driver.terminate()
        raise UnavailableError("listener_deaf") from error
    except BaseException:
        driver.terminate()
        raise
    return opened
