"""Services with a clock that stands still, and stores that count or fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asgi_guard.auth.api_keys import APIKey, APIKeyService, KeyFormat, MemoryAPIKeyStore
from asgi_guard.secret import Secret
from tests.support.headers_clock import MovedClock
from tests.support.tenancy_world import ACME

__all__ = ["FORMAT", "PEPPER", "CountingStore", "make", "service"]

FORMAT = KeyFormat("acme", "live")
PEPPER = Secret("a pepper of at least thirty-two bytes")


class CountingStore(MemoryAPIKeyStore):
    """A store that counts its questions and writes, and can be out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.finds = 0
        self.touches = 0
        self.broken = False

    async def find(self, digests: Sequence[bytes]) -> APIKey | None:
        self.finds += 1
        if self.broken:
            raise ConnectionError("the database is gone")
        return await super().find(digests)

    async def touch(self, key_id: str, *, at: float, unless_after: float) -> bool:
        self.touches += 1
        if self.broken:
            raise ConnectionError("the database is gone")
        return await super().touch(key_id, at=at, unless_after=unless_after)


def service(store: Any = None, clock: Any = None, **changes: Any) -> APIKeyService:
    """Build a service of the app ``acme`` in ``live``."""
    settings = {
        "key_format": FORMAT,
        "pepper": PEPPER,
        "clock": clock or MovedClock(),
        **changes,
    }
    return APIKeyService(store or MemoryAPIKeyStore(), **settings)


async def make(keys: APIKeyService, **changes: Any) -> Any:
    """Create a key of alice in ACME."""
    wanted = {"name": "ci", "tenant_id": ACME, "user_id": "alice", "scopes": ["notes:read"]}
    return await keys.create(**{**wanted, **changes})
