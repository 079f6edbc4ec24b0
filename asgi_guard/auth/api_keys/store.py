"""Where API keys are kept: the protocol, and a store for one process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from asgi_guard.auth.api_keys.record import APIKey
from asgi_guard.errors import ConflictError

__all__ = ["APIKeyStore", "MemoryAPIKeyStore"]


@runtime_checkable
class APIKeyStore(Protocol):
    """What an API key service needs of a store; every write is one atomic step.

    Each method may raise `UnavailableError`; any other exception has the same effect.
    """

    async def add(self, key: APIKey) -> None:
        """Keep a new key.

        Raises:
            ConflictError: Its id or its digest is there already.
        """

    async def find(self, digests: Sequence[bytes]) -> APIKey | None:
        """Return the key with one of *digests*, through a unique index."""

    async def get(self, key_id: str, tenant_id: str) -> APIKey | None:
        """Return key *key_id* if it is *tenant_id*'s."""

    async def list_keys(
        self, tenant_id: str, *, user_id: str | None = None, limit: int = 100
    ) -> list[APIKey]:
        """Return the newest keys of a tenant, or of one user in it, newest first."""

    async def supersede(self, key_id: str, successor: APIKey, *, until: float, now: float) -> bool:
        """Add *successor* and let *key_id* of the same tenant end at *until*, both or neither.

        Returns:
            False, with nothing changed, if *key_id* is not active at *now* or has a successor.
        """

    async def revoke(self, key_id: str, tenant_id: str, *, at: float) -> bool:
        """Revoke key *key_id* of *tenant_id*; tell whether it was there and not yet revoked."""

    async def revoke_all(self, tenant_id: str, *, user_id: str | None, at: float) -> int:
        """Revoke every key of a tenant, or of one user in it; return how many it were."""

    async def touch(self, key_id: str, *, at: float, unless_after: float) -> bool:
        """Note a use at *at*, unless one after *unless_after* is noted; tell whether it did."""


class MemoryAPIKeyStore:
    """Keys in a dict: for tests, and for one process that makes its keys at start-up."""

    def __init__(self) -> None:
        self._keys: dict[str, APIKey] = {}
        self._by_digest: dict[bytes, str] = {}

    async def add(self, key: APIKey) -> None:
        """Keep a new key; see `APIKeyStore`.

        Raises:
            ConflictError: Its id or its digest is there already.
        """
        if key.key_id in self._keys or key.digest in self._by_digest:
            raise ConflictError("api_key_exists")
        self._keys[key.key_id] = key
        self._by_digest[key.digest] = key.key_id

    async def find(self, digests: Sequence[bytes]) -> APIKey | None:
        """Return the key with one of *digests*."""
        ids = [self._by_digest[digest] for digest in digests if digest in self._by_digest]
        return self._keys[ids[0]] if ids else None

    async def get(self, key_id: str, tenant_id: str) -> APIKey | None:
        """Return key *key_id* if it is *tenant_id*'s."""
        key = self._keys.get(key_id)
        return key if key is not None and key.tenant_id == tenant_id else None

    async def list_keys(
        self, tenant_id: str, *, user_id: str | None = None, limit: int = 100
    ) -> list[APIKey]:
        """Return the newest keys of a tenant, or of one user in it, newest first."""
        found = self._of(tenant_id, user_id)
        found.sort(key=lambda key: (key.created_at, key.key_id), reverse=True)
        return found[:limit]

    async def supersede(self, key_id: str, successor: APIKey, *, until: float, now: float) -> bool:
        """Add *successor* and let *key_id* end at *until*; see `APIKeyStore`."""
        old = await self.get(key_id, successor.tenant_id)
        if old is None or old.state(now) != "active" or old.successor_id is not None:
            return False
        await self.add(successor)
        self._keys[key_id] = replace(old, expires_at=until, successor_id=successor.key_id)
        return True

    async def revoke(self, key_id: str, tenant_id: str, *, at: float) -> bool:
        """Revoke key *key_id* of *tenant_id*; tell whether it was there and not yet revoked."""
        key = await self.get(key_id, tenant_id)
        if key is None or key.revoked_at is not None:
            return False
        self._keys[key_id] = replace(key, revoked_at=at)
        return True

    async def revoke_all(self, tenant_id: str, *, user_id: str | None, at: float) -> int:
        """Revoke every key of a tenant, or of one user in it; return how many it were."""
        found = [key for key in self._of(tenant_id, user_id) if key.revoked_at is None]
        for key in found:
            self._keys[key.key_id] = replace(key, revoked_at=at)
        return len(found)

    async def touch(self, key_id: str, *, at: float, unless_after: float) -> bool:
        """Note a use at *at*, unless one after *unless_after* is noted; tell whether it did."""
        key = self._keys.get(key_id)
        if key is None or (key.last_used_at is not None and key.last_used_at > unless_after):
            return False
        self._keys[key_id] = replace(key, last_used_at=at)
        return True

    def _of(self, tenant_id: str, user_id: str | None) -> list[APIKey]:
        return [
            key
            for key in self._keys.values()
            if key.tenant_id == tenant_id and user_id in {None, key.user_id}
        ]
