"""FileVaultStore: sealed secrets in private files, for several processes of one host."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeVar

from asgi_guard._internal.private_files import locked, private_folder
from asgi_guard.errors import VaultUnavailableError
from asgi_guard.vault.records import Entry, Status, StoredKey, StoredSecret, VaultStore
from asgi_guard.vault.shelf import HEADS, KEYS, SECRETS, Shelf
from asgi_guard.vault.shelf_files import read_shelf, tenant_of, write_parts
from asgi_guard.vault.slot import Slot

__all__ = ["FileVaultStore"]

_POLL: Final = 0.02  # a blocking flock would hold a thread for as long as another's refresh takes
T = TypeVar("T")


class FileVaultStore:
    """Keeps sealed secrets in a folder of mode 0700; methods as in `VaultStore`.

    A tenant's files are replaced whole, under a lock between processes: good for thousands of
    secrets of a tenant, not for millions. Not for network file systems without ``flock``.

    Args:
        folder: Made if missing. Belongs to this process's user, and to nobody else.

    Raises:
        ConfigError: *folder* is a link, another user's, or open to others.
    """

    def __init__(self, folder: str | Path) -> None:
        self._root = private_folder(Path(folder))

    async def load(self, slot: Slot) -> Entry:
        """Read one slot."""
        return await self._look(slot.tenant_id, lambda shelf: shelf.load(slot))

    async def save(
        self, slot: Slot, secret: StoredSecret, *, expected: int, status: Status
    ) -> bool:
        """Replace the secret, if the slot's newest version is *expected*."""
        return await self._change(
            slot.tenant_id,
            lambda shelf: shelf.save(slot, secret, expected=expected, status=status),
        )

    async def set_status(self, slot: Slot, *, expected: int, status: Status) -> bool:
        """Note what became of the slot."""
        return await self._change(
            slot.tenant_id, lambda shelf: shelf.set_status(slot, expected=expected, status=status)
        )

    async def revoke(self, slot: Slot, *, expected: int) -> bool:
        """Remove the secret."""
        return await self._change(
            slot.tenant_id, lambda shelf: shelf.revoke(slot, expected=expected)
        )

    @asynccontextmanager
    async def exclusive(self, slot: Slot, *, hold: float = 60.0) -> AsyncIterator[VaultStore]:  # noqa: ARG002 - it ends with the process
        """Keep every other process and task out of the slot; the kernel ends it with us."""
        fd = await _in_thread(lambda: self._open_lock(slot))
        try:
            while not _try_lock(fd):  # noqa: ASYNC110 - the event is in another process
                await asyncio.sleep(_POLL)
            yield self
        finally:
            os.close(fd)

    async def keys(self, tenant_id: str) -> Sequence[StoredKey]:
        """List the tenant's data keys."""
        return await self._look(
            tenant_id, lambda shelf: [key for _, key in sorted(shelf.keys.items())]
        )

    async def add_key(self, tenant_id: str, key: StoredKey) -> bool:
        """Add a data key."""
        return await self._change(tenant_id, lambda shelf: shelf.add_key(key))

    async def drop_key(self, tenant_id: str, number: int) -> bool:
        """Remove a data key that seals nothing."""
        return await self._change(tenant_id, lambda shelf: shelf.drop_key(number))

    async def shred(self, tenant_id: str) -> int:
        """Destroy the tenant's keys and secrets, the keys first."""
        gone = 0

        def destroy(shelf: Shelf) -> Sequence[str]:
            nonlocal gone
            gone = shelf.shred()
            return (KEYS, HEADS, SECRETS)

        await self._change(tenant_id, destroy)
        return gone

    async def sealed_before(
        self, tenant_id: str, number: int, *, after: Slot | None, limit: int
    ) -> Sequence[Slot]:
        """List slots that an older data key sealed."""
        return await self._look(
            tenant_id,
            lambda shelf: shelf.sealed_before(tenant_id, number, after=after, limit=limit),
        )

    async def count_secrets(self, tenant_id: str) -> int:
        """Count the tenant's secrets."""
        return await self._look(tenant_id, lambda shelf: len(shelf.secrets))

    async def tenants_under(self, master_id: str) -> Sequence[str]:
        """List the tenants with a data key that *master_id* wraps."""
        return await _in_thread(lambda: self._tenants_under(master_id))

    async def _look(self, tenant_id: str, read: Callable[[Shelf], T]) -> T:
        def work() -> T:
            folder = self._folder(tenant_id)
            with locked(folder / "shelf.lock"):
                return read(read_shelf(folder, tenant_id))

        return await _in_thread(work)

    async def _change(self, tenant_id: str, change: Callable[[Shelf], Sequence[str]]) -> bool:
        def work() -> bool:
            folder = self._folder(tenant_id)
            with locked(folder / "shelf.lock"):
                shelf = read_shelf(folder, tenant_id)
                parts = change(shelf)
                write_parts(folder, tenant_id, shelf, parts)
            return bool(parts)

        return await _in_thread(work)

    def _folder(self, tenant_id: str) -> Path:
        # Hashed: a tenant's id never becomes part of a path, and its length never matters.
        name = sha256(tenant_id.encode("utf-8", "surrogatepass")).hexdigest()
        return private_folder(self._root / name)

    def _open_lock(self, slot: Slot) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self._folder(slot.tenant_id) / f"{slot.binding().hex()}.lock", flags, 0o600)

    def _tenants_under(self, master_id: str) -> list[str]:
        found = []
        for folder in sorted(self._root.iterdir()):
            tenant = tenant_of(folder) if folder.is_dir() else None
            if tenant is None:
                continue
            with locked(folder / "shelf.lock"):
                keys = read_shelf(folder, tenant).keys.values()
            if any(key.master_id == master_id and not key.shredded for key in keys):
                found.append(tenant)
        return found


async def _in_thread(work: Callable[[], T]) -> T:
    # In asyncio's own bounded pool: fsync takes milliseconds, on a busy disk seconds.
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise VaultUnavailableError(f"vault_files_{_word(error)}") from None


def _word(error: OSError) -> str:
    return type(error).__name__.removesuffix("Error").lower() or "error"


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
