"""InMemoryVaultStore: for tests and for one process whose secrets may end with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from asgi_guard.vault.records import Entry, Status, StoredKey, StoredSecret, VaultStore
from asgi_guard.vault.shelf import Shelf
from asgi_guard.vault.slot import Slot

__all__ = ["InMemoryVaultStore"]


class InMemoryVaultStore:
    """Keeps sealed secrets in this process's memory; methods as in `VaultStore`."""

    def __init__(self) -> None:
        self._shelves: dict[str, Shelf] = {}
        self._locks: WeakValueDictionary[Slot, asyncio.Lock] = WeakValueDictionary()

    def _shelf(self, tenant_id: str) -> Shelf:
        return self._shelves.setdefault(tenant_id, Shelf())

    async def load(self, slot: Slot) -> Entry:
        """Read one slot."""
        return self._shelf(slot.tenant_id).load(slot)

    async def save(
        self, slot: Slot, secret: StoredSecret, *, expected: int, status: Status
    ) -> bool:
        """Replace the secret, if the slot's newest version is *expected*."""
        shelf = self._shelf(slot.tenant_id)
        return bool(shelf.save(slot, secret, expected=expected, status=status))

    async def set_status(self, slot: Slot, *, expected: int, status: Status) -> bool:
        """Note what became of the slot."""
        shelf = self._shelf(slot.tenant_id)
        return bool(shelf.set_status(slot, expected=expected, status=status))

    async def revoke(self, slot: Slot, *, expected: int) -> bool:
        """Remove the secret."""
        return bool(self._shelf(slot.tenant_id).revoke(slot, expected=expected))

    @asynccontextmanager
    async def exclusive(self, slot: Slot, *, hold: float = 60.0) -> AsyncIterator[VaultStore]:  # noqa: ARG002 - it ends with the process
        """Keep other tasks out of the slot."""
        lock = self._locks.setdefault(slot, asyncio.Lock())
        async with lock:
            yield self

    async def keys(self, tenant_id: str) -> Sequence[StoredKey]:
        """List the tenant's data keys."""
        return [key for _, key in sorted(self._shelf(tenant_id).keys.items())]

    async def add_key(self, tenant_id: str, key: StoredKey) -> bool:
        """Add a data key."""
        return bool(self._shelf(tenant_id).add_key(key))

    async def drop_key(self, tenant_id: str, number: int) -> bool:
        """Remove a data key that seals nothing."""
        return bool(self._shelf(tenant_id).drop_key(number))

    async def shred(self, tenant_id: str) -> int:
        """Destroy the tenant's keys and secrets."""
        return self._shelf(tenant_id).shred()

    async def sealed_before(
        self, tenant_id: str, number: int, *, after: Slot | None, limit: int
    ) -> Sequence[Slot]:
        """List slots that an older data key sealed."""
        return self._shelf(tenant_id).sealed_before(tenant_id, number, after=after, limit=limit)

    async def count_secrets(self, tenant_id: str) -> int:
        """Count the tenant's secrets."""
        return len(self._shelf(tenant_id).secrets)

    async def tenants_under(self, master_id: str) -> Sequence[str]:
        """List the tenants with a data key that *master_id* wraps."""
        return [
            tenant
            for tenant, shelf in self._shelves.items()
            if any(k.master_id == master_id and not k.shredded for k in shelf.keys.values())
        ]
