"""The statements of `SqlVaultStore`, within one transaction.

Locks are taken in one order, keys before heads before secrets, so that a refresh, a rotation and
a shredding of one tenant wait for each other instead of dying in each other's arms.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import (
    Row,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from asgi_guard.integrations.sql_vault_tables import KEY_COLUMNS, VaultTables
from asgi_guard.vault.records import Entry, Head, Status, StoredKey, StoredSecret
from asgi_guard.vault.slot import Slot

__all__ = ["VaultWork"]

_LOCK: Final = b"asgi-guard.vault.keys:"


class VaultWork:
    """The statements of a `VaultStore` within one transaction of one tenant; methods as there."""

    def __init__(self, connection: AsyncConnection, tables: VaultTables) -> None:
        self._connection = connection
        self._tables = tables

    async def take_lease(self, slot: Slot, lease: str, hold: float) -> bool:
        """Note that *lease* has the slot for *hold* seconds; False while another one has it.

        A slot without a head has nothing that could be kept from anybody.
        """
        heads = self._tables.heads
        now = func.clock_timestamp()
        taken = await self._connection.execute(
            update(heads)
            .where(self._tables.at(heads, slot))
            .where(or_(heads.c.leased_until.is_(None), heads.c.leased_until < now))
            .values(lease=lease, leased_until=now + timedelta(seconds=hold))
        )
        if taken.rowcount:
            return True
        known = select(exists().where(self._tables.at(heads, slot)))
        return not (await self._connection.execute(known)).scalar_one()

    async def end_lease(self, slot: Slot, lease: str) -> None:
        """Give the slot back, if *lease* still has it."""
        heads = self._tables.heads
        await self._connection.execute(
            update(heads)
            .where(self._tables.at(heads, slot), heads.c.lease == lease)
            .values(lease=None, leased_until=None)
        )

    async def load(self, slot: Slot) -> Entry:
        """Read one slot in one statement, so that head and secret are of one moment."""
        tenant = self._tables.tenant
        head = (
            select(self._tables.heads)
            .where(self._tables.at(self._tables.heads, slot))
            .subquery("h")
        )
        secret = (
            select(self._tables.secrets)
            .where(self._tables.at(self._tables.secrets, slot))
            .subquery("s")
        )
        key = self._tables.keys.alias("k")
        # Full: a head that somebody removed must not hide the secret, nor the other way round.
        both = head.join(
            secret,
            and_(head.c.user_id == secret.c.user_id, head.c.provider == secret.c.provider),
            full=True,
        ).outerjoin(
            key, and_(key.c[tenant] == secret.c[tenant], key.c.number == secret.c.key_number)
        )
        query = select(
            head.c.version.label("head_version"),
            head.c.status,
            secret.c.version,
            secret.c.key_number,
            secret.c.envelope,
            *(key.c[name].label(f"k_{name}") for name in KEY_COLUMNS),
        ).select_from(both)
        row = (await self._connection.execute(query)).first()
        return Entry(None, None, None) if row is None else _entry(row)

    async def save(
        self, slot: Slot, secret: StoredSecret, *, expected: int, status: Status
    ) -> bool:
        """Check the key, move the head, replace the secret."""
        keys, secrets = self._tables.keys, self._tables.secrets
        alive = (
            select(keys.c.number)
            .where(self._tables.of(keys, slot.tenant_id), keys.c.number == secret.key_number)
            .where(keys.c.shredded.is_(False))
            .with_for_update(read=True)
        )
        if (await self._connection.execute(alive)).first() is None:
            return False
        if not await self._move_head(slot, expected, secret.version, status):
            return False
        content = {
            "version": secret.version,
            "key_number": secret.key_number,
            "envelope": secret.envelope,
        }
        row = upsert(secrets).values(**self._tables.place(slot), **content)
        await self._connection.execute(
            row.on_conflict_do_update(index_elements=list(self._tables.place(slot)), set_=content)
        )
        return True

    async def set_status(self, slot: Slot, *, expected: int, status: Status) -> bool:
        """Note what became of the version *expected*."""
        heads, secrets = self._tables.heads, self._tables.secrets
        done = await self._connection.execute(
            update(heads)
            .where(self._tables.at(heads, slot), heads.c.version == expected)
            .where(exists().where(self._tables.at(secrets, slot)))
            .values(status=status.value)
        )
        return done.rowcount == 1

    async def revoke(self, slot: Slot, *, expected: int) -> bool:
        """Move the head on, remove the secret."""
        if not await self._move_head(slot, expected, expected + 1, Status.REVOKED):
            return False
        secrets = self._tables.secrets
        await self._connection.execute(delete(secrets).where(self._tables.at(secrets, slot)))
        return True

    async def keys(self, tenant_id: str) -> Sequence[StoredKey]:
        """List the tenant's data keys."""
        keys = self._tables.keys
        query = select(*(keys.c[name] for name in KEY_COLUMNS)).where(
            self._tables.of(keys, tenant_id)
        )
        found = await self._connection.execute(query.order_by(keys.c.number))
        return [StoredKey(*row) for row in found]

    async def add_key(self, tenant_id: str, key: StoredKey) -> bool:
        """Add a data key; never while, or after, the tenant is shredded."""
        await self._one_at_a_time(tenant_id)
        kept = await self.keys(tenant_id)
        if any(other.shredded or other.number == key.number for other in kept):
            return False
        await self._connection.execute(
            insert(self._tables.keys).values(self._tables.key_row(tenant_id, key))
        )
        return True

    async def drop_key(self, tenant_id: str, number: int) -> bool:
        """Remove a data key; the foreign key refuses it if a secret slipped in."""
        keys, secrets = self._tables.keys, self._tables.secrets
        newest = select(func.max(keys.c.number)).where(self._tables.of(keys, tenant_id))
        used = exists().where(self._tables.of(secrets, tenant_id), secrets.c.key_number == number)
        done = await self._connection.execute(
            delete(keys)
            .where(self._tables.of(keys, tenant_id), keys.c.number == number)
            .where(keys.c.number < newest.scalar_subquery(), ~used)
        )
        return done.rowcount == 1

    async def shred(self, tenant_id: str) -> int:
        """Overwrite the keys, move every head on, remove every secret."""
        await self._one_at_a_time(tenant_id)
        keys, heads, secrets = self._tables.keys, self._tables.heads, self._tables.secrets
        mine = self._tables.of(keys, tenant_id)
        numbers = select(keys.c.number).where(mine).order_by(keys.c.number).with_for_update()
        if not (await self._connection.execute(numbers)).all():
            tombstone = StoredKey(1, b"", "", b"", shredded=True)
            await self._connection.execute(
                insert(keys).values(self._tables.key_row(tenant_id, tombstone))
            )
        await self._connection.execute(update(keys).where(mine).values(wrapped=b"", shredded=True))
        await self._connection.execute(
            update(heads)
            .where(self._tables.of(heads, tenant_id))
            .values(version=heads.c.version + 1, status=Status.REVOKED.value)
        )
        gone = await self._connection.execute(
            delete(secrets).where(self._tables.of(secrets, tenant_id))
        )
        return gone.rowcount

    async def sealed_before(
        self, tenant_id: str, number: int, *, after: Slot | None, limit: int
    ) -> Sequence[Slot]:
        """List slots that an older data key sealed."""
        secrets = self._tables.secrets
        place = (secrets.c.user_id, secrets.c.provider)
        query = select(*place).where(
            self._tables.of(secrets, tenant_id), secrets.c.key_number < number
        )
        if after is not None:
            query = query.where(tuple_(*place) > (after.user_id, after.provider))
        found = await self._connection.execute(query.order_by(*place).limit(limit))
        return [Slot(tenant_id, *row) for row in found]

    async def count_secrets(self, tenant_id: str) -> int:
        """Count the tenant's secrets."""
        secrets = self._tables.secrets
        query = select(func.count()).select_from(secrets).where(self._tables.of(secrets, tenant_id))
        return (await self._connection.execute(query)).scalar_one()

    async def tenants_under(self, master_id: str) -> Sequence[str]:
        """Tell whether the transaction's own tenant has a data key under *master_id*."""
        keys = self._tables.keys
        query = select(keys.c[self._tables.tenant]).where(
            keys.c.master_id == master_id, keys.c.shredded.is_(False)
        )
        found = await self._connection.execute(query.distinct())
        return [str(tenant) for tenant in found.scalars()]

    async def _move_head(self, slot: Slot, expected: int, version: int, status: Status) -> bool:
        heads, secrets = self._tables.heads, self._tables.secrets
        moved = await self._connection.execute(
            update(heads)
            .where(self._tables.at(heads, slot), heads.c.version == expected)
            .values(version=version, status=status.value)
        )
        if moved.rowcount == 1:
            return True
        there = select(secrets.c.version).where(self._tables.at(secrets, slot))
        if ((await self._connection.execute(there)).scalar() or 0) != expected:
            return False
        # The first secret of the slot, or one whose head somebody has removed.
        made = await self._connection.execute(
            upsert(heads)
            .values(**self._tables.place(slot), version=version, status=status.value)
            .on_conflict_do_nothing()
        )
        return made.rowcount == 1

    async def _one_at_a_time(self, tenant_id: str) -> None:
        # A key made while the tenant is being shredded would outlive it.
        digest = sha256(_LOCK + tenant_id.encode("utf-8", "surrogatepass")).digest()
        number = int.from_bytes(digest[:8], "big", signed=True)
        await self._connection.execute(select(func.pg_advisory_xact_lock(number)))


def _entry(row: Row[Any]) -> Entry:
    head = None if row.head_version is None else Head(row.head_version, Status(row.status))
    secret = None
    if row.version is not None:
        secret = StoredSecret(row.version, row.key_number, row.envelope)
    key = None
    if row.k_number is not None:
        key = StoredKey(row.k_number, row.k_key_id, row.k_master_id, row.k_wrapped, row.k_shredded)
    return Entry(head, secret, key)
