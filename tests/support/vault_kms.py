"""A key management service in this process: keeps its key, counts, and can be away."""

from __future__ import annotations

import asyncio

from asgi_guard.vault.master_key import LocalMasterKey, new_master_key

__all__ = ["LoopbackKMS"]


class LoopbackKMS:
    """A `MasterKeySource` with a network's manners."""

    master_id = "kms:test/1"

    def __init__(self) -> None:
        self._inner = LocalMasterKey(new_master_key())
        self.unwrapped = 0
        self.trouble = ""

    async def wrap(self, key: bytes, *, tenant_id: str, context: bytes) -> bytes:
        await self._travel(key)
        return await self._inner.wrap(key, tenant_id=tenant_id, context=context)

    async def unwrap(self, wrapped: bytes, *, tenant_id: str, context: bytes) -> bytes:
        await self._travel(wrapped)
        self.unwrapped += 1
        return await self._inner.unwrap(wrapped, tenant_id=tenant_id, context=context)

    async def _travel(self, sent: bytes) -> None:
        await asyncio.sleep(0)
        if self.trouble == "fail":
            raise ConnectionError(f"refused, request was {sent.hex()}")
        if self.trouble == "hang":
            await asyncio.Event().wait()
