"""RedisStore: the `KeyValueStore` of an app with many processes and a Redis or Valkey.

Each operation is one command, or one short script, on one key: atomic on the server, and at home
in a cluster. The ending is kept with the value and compared with the app's clock; the server's own
expiry cleans up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.extras import require_extra
from asgi_guard._internal.memory_store import check_entry, check_key
from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.protocols import Clock

require_extra("redis", feature=__name__, extra="redis")

from redis.asyncio import Redis, RedisCluster  # noqa: E402 - a missing extra is named first

from asgi_guard.integrations.redis_calls import (  # noqa: E402 - as above
    RedisCalls,
    check_client,
    client_for,
)

__all__ = ["RedisStore"]

_DIGITS: Final = 15  # milliseconds until the year 33658
# Compared as numbers: both have fewer digits than a Lua number holds exactly.
_LIVE: Final = f"""
local kept = redis.call('GET', KEYS[1])
local ends = kept and #kept >= {_DIGITS} and tonumber(string.sub(kept, 1, {_DIGITS}))
if kept and not ends then return redis.error_reply('not written by this store') end
local live = kept and ends > tonumber(ARGV[1])
"""
_PUT_IF_ABSENT: Final = f"""{_LIVE}
if live then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
_REPLACE: Final = f"""{_LIVE}
if not live or string.sub(kept, {_DIGITS + 1}) ~= ARGV[4] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""


class RedisStore:
    """Keeps entries in Redis (6.2 or later) or Valkey; methods and errors as in `KeyValueStore`.

    Args:
        server: A URL (``redis://``, ``rediss://``, ``unix://``), or an asynchronous client of
            redis-py (`Redis`, `RedisCluster`) that you close yourself.
        prefix: Begins each key, so that several apps share a server.
        timeout: Seconds that one operation may take, waiting for a connection included.
        max_connections: Of the client that is made from a URL; further calls wait.
        clock: Its ``now`` decides when an entry ends. Processes that share a server need clocks
            that agree, as for tokens.

    Raises:
        ConfigError: The URL or client cannot be used, the prefix is no short text without spaces,
            or a number is not positive.
        MissingExtraError: The ``redis`` extra is not installed (at import).

    Await `check` at start-up: a server that may evict would end sessions and let used proofs in
    again. A client of yours that repeats commands after an error may tell a caller that somebody
    else won when nobody did; never that two did. The client made from a URL repeats nothing.
    Use it on one event loop.
    """

    def __init__(
        self,
        server: Redis | RedisCluster | str,
        *,
        prefix: str = "asgi-guard:",
        timeout: float = 5.0,
        max_connections: int = 50,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        check_key(prefix)
        if not timeout > 0:
            raise ConfigError("RedisStore.timeout", f"is {timeout!r}", "Pass more than 0.")
        if max_connections < 1:
            raise ConfigError(
                "RedisStore.max_connections", f"is {max_connections}", "Pass 1 or more."
            )
        self._owned = isinstance(server, str)
        self._client: Any = (
            client_for(server, max_connections=max_connections, timeout=timeout)
            if isinstance(server, str)
            else server
        )
        check_client(self._client)
        self._calls = RedisCalls(timeout=timeout)
        self._prefix = prefix
        self._clock = clock

    async def check(self) -> None:
        """See that the server is there and keeps what it is given; for start-up.

        Raises:
            ConfigError: Its ``maxmemory-policy`` lets it drop entries that have not ended.
            UnavailableError: It does not answer.
        """
        options = {"target_nodes": RedisCluster.PRIMARIES} if self._is_cluster else {}
        found = await self._calls.run(self._client.info("memory", **options))
        nodes = [found] if "maxmemory_policy" in found else list(found.values())
        policies = {str(node.get("maxmemory_policy", "unknown")) for node in nodes}
        if policies != {"noeviction"}:
            raise ConfigError(
                "RedisStore.server",
                f"has maxmemory-policy {', '.join(sorted(policies))}: when memory is short it "
                "drops sessions, and forgets which proofs were used",
                "Set maxmemory-policy noeviction, on a server that is no cache.",
            )

    async def close(self) -> None:
        """Wait for what runs, and close the client that was made from a URL."""
        await self._calls.finish()
        if self._owned:
            await self._client.aclose()

    async def get(self, key: str) -> bytes | None:
        """Return the value of *key*, or None."""
        check_key(key)
        return self._opened(await self._calls.run(self._client.get(self._prefix + key)))

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each of *keys*, in their order; in a cluster, asks each node once."""
        for key in keys:
            check_key(key)
        if not keys:
            return []
        names = [self._prefix + key for key in keys]
        ask = self._client.mget_nonatomic if self._is_cluster else self._client.mget
        return [self._opened(kept) for kept in await self._calls.run(ask(names))]

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        """Write, whatever was there."""
        check_entry(key, value, ttl)
        kept, milliseconds = self._sealed(value, ttl)
        await self._calls.run(self._client.set(self._prefix + key, kept, px=milliseconds))

    async def put_if_absent(self, key: str, value: bytes, *, ttl: float) -> bool:
        """Write if nothing is there, or only what has ended; return whether this call wrote."""
        check_entry(key, value, ttl)
        return await self._run(_PUT_IF_ABSENT, key, *self._sealed(value, ttl))

    async def replace(self, key: str, old: bytes, new: bytes, *, ttl: float) -> bool:
        """Write *new* if *old* is what is there; return whether this call wrote."""
        check_entry(key, new, ttl)
        return await self._run(_REPLACE, key, *self._sealed(new, ttl), bytes(old))

    async def take(self, key: str) -> bytes | None:
        """Remove the entry and return its value, to one caller only."""
        check_key(key)
        return self._opened(await self._calls.run(self._client.getdel(self._prefix + key)))

    async def delete(self, key: str) -> bool:
        """Remove the entry; return whether there was one."""
        return await self.take(key) is not None

    @property
    def _is_cluster(self) -> bool:
        return isinstance(self._client, RedisCluster)

    async def _run(self, script: str, key: str, *arguments: bytes | int) -> bool:
        # The text each time, not its hash: a restarted server or a new node knows no hash.
        return bool(
            await self._calls.run(
                self._client.eval(script, 1, self._prefix + key, self._now(), *arguments)
            )
        )

    def _now(self) -> int:
        return math.floor(self._clock.now() * 1000)

    def _sealed(self, value: bytes, ttl: float) -> tuple[bytes, int]:
        ends = math.ceil((self._clock.now() + ttl) * 1000)
        return b"%0*d%b" % (_DIGITS, ends, bytes(value)), math.ceil(ttl * 1000)

    def _opened(self, kept: bytes | None) -> bytes | None:
        if kept is None:
            return None
        if not kept[:_DIGITS].isdigit() or len(kept) < _DIGITS:
            raise UnavailableError("redis_store_foreign_value")
        return kept[_DIGITS:] if int(kept[:_DIGITS]) > self._now() else None
