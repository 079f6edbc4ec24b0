"""Shelf: one tenant's keys, heads and secrets, and what may be done to them. Pure.

The in-memory store keeps shelves; the file store reads one, changes it and writes it back. It is
also the reference that the SQL store is tested against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from asgi_guard.vault.records import Entry, Head, Status, StoredKey, StoredSecret
from asgi_guard.vault.slot import Slot

__all__ = ["HEADS", "KEYS", "SECRETS", "Place", "Shelf"]

KEYS: Final = "keys"
HEADS: Final = "heads"
SECRETS: Final = "secrets"

Place: TypeAlias = tuple[str, str]
"""User and provider within a tenant."""


@dataclass(slots=True)
class Shelf:
    """What is stored for one tenant.

    Each change returns the parts that it touched, in the order in which they may be made durable
    one after the other: a crash in between loses no secret that was acknowledged, and opens none
    that was revoked. Empty: it did not apply.
    """

    keys: dict[int, StoredKey] = field(default_factory=dict)
    heads: dict[Place, Head] = field(default_factory=dict)
    secrets: dict[Place, StoredSecret] = field(default_factory=dict)

    def load(self, slot: Slot) -> Entry:
        """Return all there is about *slot*."""
        secret = self.secrets.get(_place(slot))
        key = self.keys.get(secret.key_number) if secret else None
        return Entry(self.heads.get(_place(slot)), secret, key)

    def save(
        self, slot: Slot, secret: StoredSecret, *, expected: int, status: Status
    ) -> Sequence[str]:
        """Replace the secret of *slot*, if its newest version is *expected*."""
        key = self.keys.get(secret.key_number)
        if key is None or key.shredded or self.load(slot).version != expected:
            return ()
        self.secrets[_place(slot)] = secret
        self.heads[_place(slot)] = Head(secret.version, status)
        return (SECRETS, HEADS)

    def set_status(self, slot: Slot, *, expected: int, status: Status) -> Sequence[str]:
        """Note what became of *slot*, if its newest version is *expected*."""
        entry = self.load(slot)
        if entry.secret is None or entry.version != expected:
            return ()
        self.heads[_place(slot)] = Head(expected, status)
        return (HEADS,)

    def revoke(self, slot: Slot, *, expected: int) -> Sequence[str]:
        """Remove the secret of *slot*, if its newest version is *expected*."""
        if self.load(slot).version != expected:
            return ()
        self.heads[_place(slot)] = Head(expected + 1, Status.REVOKED)
        self.secrets.pop(_place(slot), None)
        return (HEADS, SECRETS)

    def add_key(self, key: StoredKey) -> Sequence[str]:
        """Add a data key, unless its number is taken or the keys were shredded."""
        if key.number in self.keys or any(kept.shredded for kept in self.keys.values()):
            return ()
        self.keys[key.number] = key
        return (KEYS,)

    def drop_key(self, number: int) -> Sequence[str]:
        """Remove a data key that is not the newest and seals nothing."""
        if number not in self.keys or number == max(self.keys):
            return ()
        if any(secret.key_number == number for secret in self.secrets.values()):
            return ()
        del self.keys[number]
        return (KEYS,)

    def shred(self) -> int:
        """Destroy every key, then every secret; returns how many secrets. Touches all parts."""
        gone = len(self.secrets)
        self.keys = {
            number: replace(key, wrapped=b"", shredded=True) for number, key in self.keys.items()
        } or {1: StoredKey(1, b"", "", b"", shredded=True)}
        self.heads = {
            place: Head(head.version + 1, Status.REVOKED) for place, head in self.heads.items()
        }
        self.secrets = {}
        return gone

    def sealed_before(
        self, tenant_id: str, number: int, *, after: Slot | None, limit: int
    ) -> list[Slot]:
        """List slots sealed by a key older than *number*, in order of user and provider."""
        begin = _place(after) if after else ("", "")
        places = sorted(
            place
            for place, secret in self.secrets.items()
            if secret.key_number < number and place > begin
        )
        return [Slot(tenant_id, *place) for place in places[:limit]]


def _place(slot: Slot) -> Place:
    return (slot.user_id, slot.provider)
