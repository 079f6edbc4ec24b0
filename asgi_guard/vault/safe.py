"""Safe: seals into a store and opens what comes out of it, with the right key, or not at all."""

from __future__ import annotations

from math import inf
from typing import Final

from asgi_guard.errors import VaultConflictError, VaultNotConnectedError, VaultOpenError
from asgi_guard.secret import Secret
from asgi_guard.tenancy.bounded import BoundedEntries
from asgi_guard.tenancy.reporting import report
from asgi_guard.vault.data_key import DataKey
from asgi_guard.vault.envelope import open_envelope, seal
from asgi_guard.vault.keyring import KeyRing
from asgi_guard.vault.records import Entry, Status, StoredKey, StoredSecret, VaultStore
from asgi_guard.vault.slot import Slot

__all__ = ["ATTEMPTS", "Safe"]

ATTEMPTS: Final = 8
"""How often a write that somebody else overtook is tried again."""

_MARKS: Final = 10_000


class Safe:
    """What `TokenVault`, its refreshes and its rotation share.

    Args:
        keys: The masters.

    It remembers the newest version that it has seen of each of 10,000 slots, so that putting
    back a whole older store is found out by a process that lived through both.
    """

    def __init__(self, keys: KeyRing) -> None:
        self.keys = keys
        self._marks: BoundedEntries[Slot, int] = BoundedEntries(_MARKS, inf)

    async def entry(self, store: VaultStore, slot: Slot) -> Entry:
        """Read one slot.

        Raises:
            VaultOpenError: ``vault_rolled_back``: the store held a newer version before.
        """
        before = self._mark(slot)  # before the look: what is written meanwhile is no rollback
        entry = await store.load(slot)
        if entry.version < before:
            refusal = VaultOpenError("vault_rolled_back")
            _report_refusal(slot, refusal)
            raise refusal
        self._note(slot, entry.version)
        return entry

    async def open(self, slot: Slot, entry: Entry) -> Secret:
        """Decrypt what *entry* holds.

        Raises:
            VaultNotConnectedError: It holds nothing, or what it held was revoked.
            VaultOpenError: It holds something that does not belong there.
            VaultUnavailableError: The master key's service does not answer.
        """
        try:
            return await self._opened(slot, entry)
        except VaultOpenError as refusal:
            _report_refusal(slot, refusal)
            raise

    async def write(
        self, store: VaultStore, slot: Slot, plaintext: Secret, *, entry: Entry, status: Status
    ) -> bool:
        """Seal *plaintext* as the version after *entry*'s; False: somebody was faster.

        Raises:
            VaultOpenError: The tenant is shredded, or its data key cannot be unwrapped.
            VaultUnavailableError: The store or the master's service does not answer.
        """
        version = entry.version + 1
        stored, key = await self.current_key(store, slot.tenant_id)
        envelope = seal(plaintext.reveal().encode(), key=key, slot=slot, version=version)
        secret = StoredSecret(version, stored.number, envelope)
        return await store.save(slot, secret, expected=entry.version, status=status)

    async def current_key(self, store: VaultStore, tenant_id: str) -> tuple[StoredKey, DataKey]:
        """Return the tenant's newest data key; make the first one if there is none.

        Raises:
            VaultOpenError: The tenant is shredded, or the key cannot be unwrapped.
            VaultConflictError: Others kept changing the tenant's keys.
        """
        for _ in range(ATTEMPTS):
            kept = await store.keys(tenant_id)
            if any(key.shredded for key in kept):
                raise VaultOpenError("vault_shredded")
            if kept:
                return kept[-1], await self.keys.unwrap(tenant_id, kept[-1])
            await self.add_key(store, tenant_id, 1)
        raise VaultConflictError("keys_keep_changing")

    async def add_key(self, store: VaultStore, tenant_id: str, number: int) -> bool:
        """Make the tenant's data key *number*; False: somebody was faster."""
        stored, _ = await self.keys.make(tenant_id, number)
        made = await store.add_key(tenant_id, stored)
        if made:
            report("VAULT_KEY_MADE", outcome="allowed", details={"number": number})
        return made

    async def _opened(self, slot: Slot, entry: Entry) -> Secret:
        secret = _live_secret(entry)
        if entry.head is not None and secret.version < entry.head.version:
            raise VaultOpenError("vault_rolled_back")
        if entry.key is None or entry.key.number != secret.key_number:
            raise VaultOpenError("vault_key_missing")
        key = await self.keys.unwrap(slot.tenant_id, entry.key)
        # A Secret at once: tracebacks of whatever fails later may show their frames' locals.
        return Secret(
            open_envelope(secret.envelope, key=key, slot=slot, version=secret.version).decode(
                "utf-8", "replace"
            )
        )

    def _mark(self, slot: Slot) -> int:
        known = self._marks.current(slot, 0)
        return known[1] if known else 0

    def _note(self, slot: Slot, version: int) -> None:
        # What was read, never what was written: a commit may still fail.
        if version > self._mark(slot):
            self._marks.keep(slot, version, 0)


def _live_secret(entry: Entry) -> StoredSecret:
    """Return the secret of *entry*, if it is one that may be used."""
    if entry.head is not None and entry.head.status is Status.REVOKED:
        raise VaultNotConnectedError("revoked")
    if entry.secret is None:
        raise VaultNotConnectedError("never_connected" if entry.head is None else "secret_missing")
    return entry.secret


def _report_refusal(slot: Slot, refusal: VaultOpenError) -> None:
    report("VAULT_OPEN_FAILED", reason=refusal.code, details={"provider": slot.provider})
