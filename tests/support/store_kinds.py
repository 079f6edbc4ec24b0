"""Every store that the package has, opened as an app would, and one that is not atomic."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.integrations.redis import RedisStore
from asgi_guard.integrations.sql_store import SQLStore, create_state_table, state_table
from asgi_guard.protocols import Clock, KeyValueStore

__all__ = ["KINDS", "TABLE", "CarelessStore", "engine_for", "opened"]

KINDS = [
    "memory",
    "sqlite",
    pytest.param("asyncpg", marks=pytest.mark.postgres),
    pytest.param("psycopg", marks=pytest.mark.postgres),
    pytest.param("redis", marks=pytest.mark.redis),
]
TABLE = state_table(MetaData())


def engine_for(kind: str, address: str, **options: Any) -> AsyncEngine:
    """Open an engine with the driver *kind*."""
    scheme = {"sqlite": "sqlite+aiosqlite", "psycopg": "postgresql+psycopg"}.get(kind)
    return create_async_engine(
        f"{scheme or 'postgresql+asyncpg'}:{address.partition(':')[2]}", **options
    )


@asynccontextmanager
async def opened(
    kind: str, address: str, clock: Clock, **options: Any
) -> AsyncIterator[KeyValueStore]:
    """Open the store of one *kind* for the block."""
    if kind == "memory":
        yield MemoryStore(clock=clock, **options)
    elif kind == "redis":
        redis_store = RedisStore(address, clock=clock, **options)
        yield redis_store
        await redis_store.close()
    else:
        engine = engine_for(kind, address)
        await create_state_table(engine, TABLE)
        store = SQLStore(engine, TABLE, clock=clock, **options)
        yield store
        await store.finish()
        await engine.dispose()


class CarelessStore:
    """Looks first and writes then, as a cache's own methods invite to.

    Args:
        store: What is used carelessly.
        between: What happens between look and write; by default others run.
    """

    def __init__(self, store: KeyValueStore, between: Callable[[], object] | None = None) -> None:
        self._store = store
        self._between = between

    async def get(self, key: str) -> bytes | None:
        found = await self._store.get(key)
        await asyncio.sleep(0)
        if self._between is not None:
            self._between()
        return found

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        return await self._store.get_many(keys)

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        await self._store.put(key, value, ttl=ttl)

    async def put_if_absent(self, key: str, value: bytes, *, ttl: float) -> bool:
        if await self.get(key) is not None:
            return False
        await self._store.put(key, value, ttl=ttl)
        return True

    async def replace(self, key: str, old: bytes, new: bytes, *, ttl: float) -> bool:
        if await self.get(key) != old:
            return False
        await self._store.put(key, new, ttl=ttl)
        return True

    async def take(self, key: str) -> bytes | None:
        found = await self.get(key)
        await self._store.delete(key)
        return found

    async def delete(self, key: str) -> bool:
        return await self.take(key) is not None
