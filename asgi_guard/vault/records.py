"""What a vault store keeps, and the store as a protocol: keys, heads and sealed secrets.

- A *stored key* is a tenant's data key, wrapped. Destroying it shreds what it sealed.
- A *head* is the high-water mark of a slot: the newest version and what has become of it. It
  stays when the secret goes, so that an old secret cannot be put back in its place.
- A *stored secret* is one envelope, with the version and data key that its row claims.

The three live apart (tables, files), so that whoever can put back one of them is found out by
another.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

from asgi_guard.vault.slot import Slot

__all__ = ["Entry", "Head", "Status", "StoredKey", "StoredSecret", "VaultStore"]


class Status(StrEnum):
    """What has become of a slot."""

    CONNECTED = "connected"
    VERIFIED = "verified"
    BROKEN = "broken"  # the third party refuses it; only a reconnect helps
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Head:
    """The newest version of a slot that was ever acknowledged."""

    version: int
    status: Status


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One wrapped data key of a tenant.

    Args:
        number: 1, 2, 3 … within the tenant; the highest seals what is written.
        key_id: Which data key it is, 8 bytes.
        master_id: Which master wraps it.
        wrapped: The data key as that master gave it; empty once shredded.
        shredded: The tenant's keys were destroyed, and no new one will be made.
    """

    number: int
    key_id: bytes
    master_id: str
    wrapped: bytes = field(repr=False)
    shredded: bool = False


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """One sealed secret, as its row tells it."""

    version: int
    key_number: int
    envelope: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """All that a store has about one slot, read at one moment.

    Args:
        head: The slot's high-water mark; None if there was never a secret, or it was lost.
        secret: The sealed secret, if there is one.
        key: The key that the secret's row names, if the store has it.
    """

    head: Head | None
    secret: StoredSecret | None
    key: StoredKey | None

    @property
    def version(self) -> int:
        """The newest version in use; 0 if there is none.

        A crash between the files of a file store leaves a secret ahead of its head: written, and
        never acknowledged.
        """
        return max(self.head.version if self.head else 0, self.secret.version if self.secret else 0)


@runtime_checkable
class VaultStore(Protocol):
    """Where sealed secrets live: SQL, files, memory.

    Each write is atomic, and applies only if the slot's newest version is still *expected* (0:
    there was none). A store that cannot be reached raises `VaultUnavailableError`.
    """

    async def load(self, slot: Slot) -> Entry:
        """Read one slot."""

    async def save(
        self, slot: Slot, secret: StoredSecret, *, expected: int, status: Status
    ) -> bool:
        """Replace the secret and move the head to its version; False: somebody was faster.

        False as well when the data key that seals it is gone or shredded.
        """

    async def set_status(self, slot: Slot, *, expected: int, status: Status) -> bool:
        """Note what became of the version *expected*, which stays."""

    async def revoke(self, slot: Slot, *, expected: int) -> bool:
        """Remove the secret; the head moves on to ``expected + 1``, revoked."""

    def exclusive(
        self, slot: Slot, *, hold: float = 60.0
    ) -> AbstractAsyncContextManager[VaultStore]:
        """Keep others out of the slot, in every process, while the block runs.

        Gives the store to use inside: what it writes is visible when the block ends, at latest.

        Args:
            slot: Which.
            hold: Seconds that the block takes at most. A store that cannot see whether its
                process lives lets others in after them.
        """

    async def keys(self, tenant_id: str) -> Sequence[StoredKey]:
        """List the tenant's data keys, by number."""

    async def add_key(self, tenant_id: str, key: StoredKey) -> bool:
        """Add a data key; False when its number is taken or the tenant is shredded."""

    async def drop_key(self, tenant_id: str, number: int) -> bool:
        """Remove a data key that is not the newest and seals nothing; False when it is in use."""

    async def shred(self, tenant_id: str) -> int:
        """Destroy every data key and secret of the tenant, for ever; returns how many secrets."""

    async def sealed_before(
        self, tenant_id: str, number: int, *, after: Slot | None, limit: int
    ) -> Sequence[Slot]:
        """List up to *limit* slots sealed by a key older than *number*, in order, past *after*."""

    async def count_secrets(self, tenant_id: str) -> int:
        """Count the tenant's secrets."""

    async def tenants_under(self, master_id: str) -> Sequence[str]:
        """List the tenants of which *master_id* still wraps a data key, across tenants."""
