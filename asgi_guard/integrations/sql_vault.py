"""SqlVaultStore: the vault's sealed secrets in PostgreSQL, under row-level security.

Three guarded tables: data keys, heads (the newest version of each slot) and secrets. A secret
refers to its data key, so that the database itself refuses to drop a key that is in use.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from secrets import token_hex
from typing import Final, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from asgi_guard.errors import ConfigError, UnavailableError, VaultError, VaultUnavailableError
from asgi_guard.integrations.sql_vault_tables import VaultTables
from asgi_guard.integrations.sql_vault_work import VaultWork
from asgi_guard.rls import is_guarded, system_session
from asgi_guard.rls.violations import mismatch
from asgi_guard.tenancy.current import require_context
from asgi_guard.vault.records import Entry, Status, StoredKey, StoredSecret, VaultStore
from asgi_guard.vault.slot import Slot

__all__ = ["SqlVaultStore"]

_POLL: Final = 0.05  # seconds
_OPERATION: Final = "vault.store"
_REASON: Final = "which tenants a master key of the vault still serves"
T = TypeVar("T")


class SqlVaultStore:
    """Keeps sealed secrets in PostgreSQL; methods as in `VaultStore`.

    Args:
        engine: From `guarded_engine`, asynchronous, in READ COMMITTED (the server's default).
        tables: In the metadata that `tenant_policies` was given.
        system_engine: From `system_engine`; needed only to ask which tenants a master still
            serves, which is a question across tenants.

    Raises:
        ConfigError: *engine* is not an asynchronous guarded engine.
    """

    def __init__(
        self, engine: AsyncEngine, tables: VaultTables, *, system_engine: AsyncEngine | None = None
    ) -> None:
        if not isinstance(engine, AsyncEngine) or not is_guarded(engine):
            raise ConfigError(
                "SqlVaultStore.engine", "is not a guarded AsyncEngine", "Use guarded_engine()."
            )
        self._engine = engine
        self._tables = tables
        self._system_engine = system_engine

    async def load(self, slot: Slot) -> Entry:
        """Read one slot."""
        return await self._run(slot.tenant_id, lambda work: work.load(slot))

    async def save(
        self, slot: Slot, secret: StoredSecret, *, expected: int, status: Status
    ) -> bool:
        """Replace the secret, if the slot's newest version is *expected*."""
        return await self._run(
            slot.tenant_id,
            lambda work: work.save(slot, secret, expected=expected, status=status),
        )

    async def set_status(self, slot: Slot, *, expected: int, status: Status) -> bool:
        """Note what became of the slot."""
        return await self._run(
            slot.tenant_id, lambda work: work.set_status(slot, expected=expected, status=status)
        )

    async def revoke(self, slot: Slot, *, expected: int) -> bool:
        """Remove the secret."""
        return await self._run(slot.tenant_id, lambda work: work.revoke(slot, expected=expected))

    @asynccontextmanager
    async def exclusive(self, slot: Slot, *, hold: float = 60.0) -> AsyncIterator[VaultStore]:
        """Keep others out of the slot by a lease in its row; no connection is held meanwhile.

        A process that dies leaves its lease behind, which ends after *hold* seconds.
        """
        lease = token_hex(16)
        while not await self._run(  # noqa: ASYNC110 - the event is in another process
            slot.tenant_id, lambda work: work.take_lease(slot, lease, hold)
        ):
            await asyncio.sleep(_POLL)
        try:
            yield self
        finally:
            with suppress(VaultUnavailableError):  # it ends by itself
                await self._run(slot.tenant_id, lambda work: work.end_lease(slot, lease))

    async def keys(self, tenant_id: str) -> Sequence[StoredKey]:
        """List the tenant's data keys."""
        return await self._run(tenant_id, lambda work: work.keys(tenant_id))

    async def add_key(self, tenant_id: str, key: StoredKey) -> bool:
        """Add a data key."""
        return await self._run(tenant_id, lambda work: work.add_key(tenant_id, key))

    async def drop_key(self, tenant_id: str, number: int) -> bool:
        """Remove a data key that seals nothing."""
        try:
            return await self._run(tenant_id, lambda work: work.drop_key(tenant_id, number))
        except IntegrityError:
            return False  # a secret was stored under it meanwhile

    async def shred(self, tenant_id: str) -> int:
        """Destroy the tenant's keys and secrets, in one transaction."""
        return await self._run(tenant_id, lambda work: work.shred(tenant_id))

    async def sealed_before(
        self, tenant_id: str, number: int, *, after: Slot | None, limit: int
    ) -> Sequence[Slot]:
        """List slots that an older data key sealed."""
        return await self._run(
            tenant_id,
            lambda work: work.sealed_before(tenant_id, number, after=after, limit=limit),
        )

    async def count_secrets(self, tenant_id: str) -> int:
        """Count the tenant's secrets."""
        return await self._run(tenant_id, lambda work: work.count_secrets(tenant_id))

    async def tenants_under(self, master_id: str) -> Sequence[str]:
        """List the tenants with a data key that *master_id* wraps, as the system role.

        Raises:
            ConfigError: There is no system engine.
            VaultUnavailableError: The database does not answer.
        """
        if self._system_engine is None:
            raise ConfigError(
                "SqlVaultStore.system_engine", "is missing", "Pass one from system_engine()."
            )
        keys = self._tables.keys
        query = select(keys.c[self._tables.tenant]).distinct()
        query = query.where(keys.c.master_id == master_id, keys.c.shredded.is_(False))
        async with (
            _in_plain_words(),
            system_session(self._system_engine, reason=_REASON) as session,
        ):
            return [str(tenant) for tenant in (await session.execute(query)).scalars()]

    async def _run(self, tenant_id: str, do: Callable[[VaultWork], Awaitable[T]]) -> T:
        async with self._work(tenant_id) as work:
            return await do(work)

    @asynccontextmanager
    async def _work(self, tenant_id: str) -> AsyncIterator[VaultWork]:
        if require_context(_OPERATION).tenant_id != tenant_id:
            raise mismatch(
                "this secret belongs to another tenant than this code runs for",
                reason="vault_of_another",
                operation=_OPERATION,
            )
        async with _in_plain_words(), self._engine.begin() as connection:
            yield VaultWork(connection, self._tables)


@asynccontextmanager
async def _in_plain_words() -> AsyncIterator[None]:
    """Say that the database failed, without its SQL and parameters."""
    try:
        yield
    except (VaultError, IntegrityError):
        raise
    except UnavailableError as away:
        raise VaultUnavailableError(away.reason) from None
    except (SQLAlchemyError, OSError):
        raise VaultUnavailableError("vault_database") from None
