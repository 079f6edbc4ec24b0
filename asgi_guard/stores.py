"""State that must be shared is shared: sessions, login state, replay caches, revocations.

One small protocol, `KeyValueStore`, and whoever keeps such state takes any store that has its
methods: this one for a single process, `asgi_guard.integrations.sql_store.SQLStore` or
`asgi_guard.integrations.redis.RedisStore` for many.
"""

from __future__ import annotations

from asgi_guard._internal.memory_store import MemoryStore, StoreReplayCache
from asgi_guard.protocols import KeyValueStore, ReplayCache

__all__ = ["KeyValueStore", "MemoryStore", "ReplayCache", "StoreReplayCache"]
