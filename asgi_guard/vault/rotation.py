"""VaultRotation: seal a tenant's secrets anew under a fresh data key, in the background.

Where it is, is in the store: the newest data key, and the rows that an older one still seals. So
it can be stopped at any point and started again, by several processes at once, while users go on
connecting and refreshing; each row changes only if nobody else has changed it since it was read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from asgi_guard.errors import (
    ConfigError,
    VaultConflictError,
    VaultKeyInUseError,
    VaultNotConnectedError,
    VaultOpenError,
)
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import current_context, require_context, use_context
from asgi_guard.tenancy.reporting import report
from asgi_guard.vault.keyring import KeyRing
from asgi_guard.vault.records import Status, StoredKey, VaultStore
from asgi_guard.vault.safe import ATTEMPTS, Safe
from asgi_guard.vault.slot import Slot

__all__ = ["RotationProgress", "VaultRotation"]

_USER: Final = "vault-rotation"


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationProgress:
    """How far the rotation of one tenant has come.

    Args:
        tenant_id: Whose.
        total: Secrets that the tenant had when it began.
        sealed: Secrets sealed anew by this run.
        failed: Secrets that could not be opened; left as they are, as is the key they need.
        keys_dropped: Older data keys that sealed nothing any more.
        is_complete: Nothing is left under an older data key.
    """

    tenant_id: str
    total: int
    sealed: int = 0
    failed: int = 0
    keys_dropped: int = 0
    is_complete: bool = False


class VaultRotation:
    """Moves secrets to fresh data keys, and master keys out of use.

    Args:
        store: Where secrets are kept.
        keys: The masters; the active one wraps the fresh data keys.
        batch: Secrets between two pauses.
        pause: Seconds of each pause; the throttle.
        on_progress: Told after each batch and at the end.

    Raises:
        ConfigError: *batch* is below 1, or *pause* negative.
    """

    def __init__(
        self,
        *,
        store: VaultStore,
        keys: KeyRing,
        batch: int = 100,
        pause: float = 0.05,
        on_progress: Callable[[RotationProgress], object] | None = None,
    ) -> None:
        if batch < 1:
            raise ConfigError("VaultRotation.batch", f"is {batch!r}", "Pass at least 1.")
        if pause < 0:
            raise ConfigError("VaultRotation.pause", f"is {pause!r}", "Pass 0 or more seconds.")
        self._store = store
        self._keys = keys
        self._safe = Safe(keys)
        self._batch = batch
        self._pause = pause
        self._tell = on_progress or (lambda _progress: None)

    async def run_current(self, *, fresh_key: bool = False) -> RotationProgress:
        """Rotate the tenant of the current context.

        Args:
            fresh_key: Make a new data key even if the newest one is under the active master.
                Without it a run that was stopped goes on where it was.

        Raises:
            VaultOpenError: The tenant is shredded.
            VaultConflictError: Others kept changing the tenant's keys.
            VaultUnavailableError: The store or the master key's service does not answer.
        """
        tenant_id = require_context("vault.rotate").tenant_id
        newest = await self._newest(tenant_id, fresh_key=fresh_key)
        total = await self._store.count_secrets(tenant_id)
        progress = RotationProgress(tenant_id=tenant_id, total=total, is_complete=newest is None)
        if newest is not None:
            progress = await self._sweep(progress, newest)
        self._tell(progress)
        outcome = "allowed" if progress.is_complete else "error"
        details = {"sealed": progress.sealed, "failed": progress.failed, "total": total}
        report("VAULT_ROTATED", outcome=outcome, details=details)
        return progress

    async def run(
        self, tenants: Iterable[str], *, fresh_key: bool = False
    ) -> list[RotationProgress]:
        """Rotate *tenants* one after the other, each under a context of its own.

        Args:
            tenants: Their ids, for instance from `tenants_to_rotate`.
            fresh_key: As for `run_current`.

        Raises:
            ConfigError: It was called inside somebody's context: crossing tenants is no user's.
            VaultConflictError: As `run_current`.
            VaultUnavailableError: As `run_current`.
        """
        if current_context() is not None:
            raise ConfigError(
                "VaultRotation.run", "runs inside a user's context", "Run it in a job of its own."
            )
        done = []
        for tenant_id in tenants:
            context = UserExecutionContext(
                tenant_id=tenant_id,
                user_id=_USER,
                operation="vault.rotate",
                auth_method="internal",
            )
            with use_context(context):
                done.append(await self.run_current(fresh_key=fresh_key))
        return done

    async def tenants_to_rotate(self, master_id: str) -> list[str]:
        """List the tenants of which *master_id* still wraps a data key.

        Raises:
            VaultUnavailableError: The store does not answer.
        """
        return list(await self._store.tenants_under(master_id))

    async def retire(self, master_id: str) -> None:
        """Make sure that nothing needs the master *master_id* any more.

        After this it may be taken out of every ring, and destroyed. Take it out of every
        process's place as *active* first, or one may use it again.

        Raises:
            ConfigError: It is the active one.
            VaultKeyInUseError: It wraps data keys of some tenants.
            VaultUnavailableError: The store does not answer.
        """
        if master_id == self._keys.active_id:
            raise ConfigError("retire(master_id)", "is the active master", "Make another active.")
        tenants = await self._store.tenants_under(master_id)
        if tenants:
            raise VaultKeyInUseError(len(tenants))
        report("VAULT_MASTER_RETIRED", outcome="allowed", details={"master": master_id})

    async def _newest(self, tenant_id: str, *, fresh_key: bool) -> StoredKey | None:
        """Return the data key to move to, made if need be; None for a tenant without any."""
        for _ in range(ATTEMPTS):
            kept = await self._store.keys(tenant_id)
            if any(key.shredded for key in kept):
                raise VaultOpenError("vault_shredded")
            if not kept:
                return None
            newest = kept[-1]
            if newest.master_id == self._keys.active_id and not fresh_key:
                return newest
            await self._safe.add_key(self._store, tenant_id, newest.number + 1)
            fresh_key = False  # somebody's is as fresh as ours
        raise VaultConflictError("keys_keep_changing")

    async def _sweep(self, progress: RotationProgress, newest: StoredKey) -> RotationProgress:
        for _ in range(ATTEMPTS):
            progress, contested = await self._pass(progress, newest.number)
            if contested:
                continue
            progress = await self._drop_older(progress, newest)
            # Not complete without a failure: a writer that knew the older key only came in late.
            if progress.is_complete or progress.failed:
                break
        return progress

    async def _pass(self, progress: RotationProgress, number: int) -> tuple[RotationProgress, int]:
        """Go once over the rows under older keys; gives how many others were changing as well."""
        progress, contested = replace(progress, failed=0), 0
        async for batch in self._batches(progress.tenant_id, number):
            for slot in batch:
                came = await self._reseal(slot)
                contested += came == "contested"
                progress = replace(
                    progress,
                    sealed=progress.sealed + (came == "sealed"),
                    failed=progress.failed + (came == "failed"),
                )
            self._tell(progress)
            await asyncio.sleep(self._pause)
        return progress, contested

    async def _batches(self, tenant_id: str, number: int) -> AsyncIterator[list[Slot]]:
        after: Slot | None = None
        while batch := await self._store.sealed_before(
            tenant_id, number, after=after, limit=self._batch
        ):
            yield list(batch)
            after = batch[-1]

    async def _reseal(self, slot: Slot) -> str:
        try:
            entry = await self._safe.entry(self._store, slot)
            plaintext = await self._safe.open(slot, entry)
            status = entry.head.status if entry.head else Status.CONNECTED
            saved = await self._safe.write(self._store, slot, plaintext, entry=entry, status=status)
        except VaultNotConnectedError:
            return "contested"  # revoked since it was listed
        except VaultOpenError:
            return "failed"  # reported; left as it is, for somebody to look at
        return "sealed" if saved else "contested"

    async def _drop_older(self, progress: RotationProgress, newest: StoredKey) -> RotationProgress:
        older = [
            key.number
            for key in await self._store.keys(progress.tenant_id)
            if key.number < newest.number
        ]
        dropped = [await self._store.drop_key(progress.tenant_id, number) for number in older]
        return replace(progress, keys_dropped=sum(dropped), is_complete=all(dropped))
