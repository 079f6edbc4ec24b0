"""Commands to Redis, bounded, undisturbed by callers that leave, with failures in our own words."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError
from redis.exceptions import TimeoutError as RedisTimeoutError

from asgi_guard._internal.undisturbed import Undisturbed
from asgi_guard.errors import ConfigError, UnavailableError

__all__ = ["RedisCalls", "check_client", "client_for"]

T = TypeVar("T")


class RedisCalls:
    """Awaits commands.

    Args:
        timeout: Seconds for one, waiting for a connection included.

    What the client says stays here: it quotes values, which are session data.
    """

    def __init__(self, *, timeout: float) -> None:
        self._timeout = timeout
        self._undisturbed = Undisturbed()

    async def finish(self) -> None:
        """Wait for commands whose callers have left."""
        await self._undisturbed.finish()

    async def run(self, answer: Coroutine[Any, Any, T]) -> T:
        """Return the answer of one command.

        Raises:
            UnavailableError: It failed, or took too long.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._undisturbed.run(answer)  # its socket_timeout ends it
        except (TimeoutError, RedisTimeoutError):
            refusal = UnavailableError("redis_store_timeout")
        except OutOfMemoryError:
            refusal = UnavailableError("redis_store_full")
        except Exception as failure:  # noqa: BLE001 - a closed loop or pool is none of its errors
            refusal = UnavailableError("redis_store_failed")
            refusal.add_note(f"The client said: {type(failure).__name__}")
        raise refusal  # here, where no error is being handled that would be printed with it


def client_for(url: str, *, max_connections: int, timeout: float) -> Redis:
    """Make a client that repeats nothing and waits for nothing for ever.

    Raises:
        ConfigError: *url* is none of a server.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=max_connections,
            timeout=timeout,
            socket_connect_timeout=timeout,
            socket_timeout=timeout,
            # After a broken connection nobody knows what a command did, so none is repeated.
            retry=Retry(NoBackoff(), 0),
            decode_responses=False,
            # Under RESP3 redis-py 8 does not look whether an idle connection was closed meanwhile.
            protocol=2,
        )
    except ValueError:
        raise ConfigError(
            "RedisStore.server", "is no URL of a server", "Pass redis://host:6379/0, or rediss://."
        ) from None
    return Redis.from_pool(pool)


def check_client(client: object) -> None:
    """Refuse a client that the store cannot work with.

    Raises:
        ConfigError: It is none of redis-py's, never gives up waiting, or decodes what is bytes.
    """
    if not isinstance(client, Redis | RedisCluster):
        raise ConfigError(
            "RedisStore.server",
            f"is a {type(client).__name__}",
            "Pass a URL, or a Redis or RedisCluster of redis.asyncio.",
        )
    if client.get_connection_kwargs().get("socket_timeout") is None:
        raise ConfigError(
            "RedisStore.server",
            "waits for ever for an answer",
            "Build the client with socket_timeout=5.",
        )
    if client.get_encoder().decode_responses:
        raise ConfigError(
            "RedisStore.server",
            "decodes answers, and values are bytes",
            "Build the client with decode_responses=False.",
        )
