"""SecretDrawer: secrets of the current user that are no OAuth tokens, and what all kinds share."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Final, Self

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.errors import (
    ConfigError,
    InsufficientScopeError,
    VaultConflictError,
    VaultNotConnectedError,
)
from asgi_guard.protocols import Clock
from asgi_guard.secret import Secret
from asgi_guard.tenancy.current import require_context
from asgi_guard.tenancy.reporting import report
from asgi_guard.vault.keyring import KeyRing
from asgi_guard.vault.records import Entry, Status, VaultStore
from asgi_guard.vault.safe import ATTEMPTS, Safe
from asgi_guard.vault.slot import Slot, secret_provider
from asgi_guard.vault.token import decode_secret, encode_secret

__all__ = ["SecretDrawer", "is_live", "report_about"]


_CHANGES: Final = frozenset(
    {
        "vault.connect",
        "vault.delete_secret",
        "vault.put_secret",
        "vault.reconnect",
        "vault.revoke",
    }
)


class SecretDrawer:
    """Keeps secrets sealed for one tenant and one user.

    Args:
        store: Where sealed secrets are kept.
        keys: The master keys.
        clock: Where "now" comes from.

    Raises:
        ConfigError: An argument is of the wrong kind.
    """

    def __init__(self, *, store: VaultStore, keys: KeyRing, clock: Clock = SYSTEM_CLOCK) -> None:
        if not isinstance(store, VaultStore):
            raise ConfigError("TokenVault.store", f"is a {type(store).__name__}", "Pass a store.")
        if not isinstance(keys, KeyRing):
            raise ConfigError("TokenVault.keys", f"is a {type(keys).__name__}", "Pass a KeyRing.")
        self._store = store
        self._clock = clock
        self._safe = Safe(keys)
        self._owner_scope: str | None = None

    def shared(self, *, scope: str = "vault:shared") -> Self:
        """Return the same vault for what belongs to the whole tenant instead of one user.

        Every context of the tenant may open it; only one with *scope* may change it. A user's own
        secrets and the tenant's never meet: the place is part of what is authenticated.

        Args:
            scope: OAuth scope of those who connect, replace and remove for the tenant.

        Raises:
            ConfigError: The scope is empty, so that anybody would have it.
        """
        if not scope:
            raise ConfigError("TokenVault.shared(scope)", "is empty", "Name the operators' scope.")
        view = copy(self)
        view._owner_scope = scope  # noqa: SLF001 - our own class
        return view

    async def put_secret(self, name: str, value: Secret) -> None:
        """Store a secret of the user that is no OAuth token, or replace it.

        Raises:
            ConfigError: *value* is no `Secret`, or longer than 64 KiB; *name* is no plain name.
            VaultConflictError: Others kept changing it.
            VaultOpenError: The tenant is shredded.
            VaultUnavailableError: The store or the master key's service does not answer.
        """
        if not isinstance(value, Secret):
            raise ConfigError("put_secret(value)", "is no Secret", "Wrap it: Secret(text).")
        slot = self._slot(secret_provider(name), "vault.put_secret")
        await self._put(slot, encode_secret(value))
        report_about(slot, "VAULT_SECRET_STORED")

    async def get_secret(self, name: str) -> Secret:
        """Return a secret of the user.

        Raises:
            VaultNotConnectedError: There is none.
            VaultOpenError: What is stored is not what belongs there.
            VaultUnavailableError: The store or the master key's service does not answer.
        """
        slot = self._slot(secret_provider(name), "vault.get_secret")
        entry = await self._safe.entry(self._store, slot)
        value = decode_secret(await self._safe.open(slot, entry))
        report_about(slot, "VAULT_OPENED")
        return value

    async def delete_secret(self, name: str) -> None:
        """Remove a secret of the user.

        Raises:
            VaultNotConnectedError: There is none.
            VaultConflictError: Others kept changing it.
            VaultUnavailableError: The store does not answer.
        """
        slot = self._slot(secret_provider(name), "vault.delete_secret")
        await self._remove(slot)
        report_about(slot, "VAULT_SECRET_REMOVED")

    async def shred_tenant(self, *, confirm: str) -> int:
        """Destroy every data key of the current tenant, and with them all its secrets, for ever.

        The tenant cannot store anything afterwards; one that comes back gets a new id.

        Args:
            confirm: The tenant's id once more, so that no wrong context shreds by accident.

        Returns:
            How many secrets there were.

        Raises:
            ConfigError: *confirm* is not the current tenant.
            VaultUnavailableError: The store does not answer.

        Reaches no copy of the key table: see the page on the vault for what must go with it.
        """
        context = require_context("vault.shred_tenant", clock=self._clock)
        if confirm != context.tenant_id:
            raise ConfigError(
                "shred_tenant(confirm)", "is not the tenant of this context", "Check both."
            )
        gone = await self._store.shred(context.tenant_id)
        self._safe.keys.forget(context.tenant_id)
        report("VAULT_SHREDDED", outcome="allowed", details={"secrets": gone})
        return gone

    def _slot(self, provider: str, operation: str) -> Slot:
        context = require_context(operation, clock=self._clock)
        if self._owner_scope is None:
            return Slot(context.tenant_id, context.user_id, provider)
        if operation in _CHANGES and self._owner_scope not in context.scopes:
            raise InsufficientScopeError("vault_shared_scope_missing")
        return Slot(context.tenant_id, "", provider)

    async def _put(
        self, slot: Slot, plaintext: Secret, *, check: Callable[[Entry], None] | None = None
    ) -> None:
        """Store *plaintext* over whatever is there, unless *check* raises."""
        for _ in range(ATTEMPTS):
            entry = await self._safe.entry(self._store, slot)
            if check is not None:
                check(entry)
            if await self._safe.write(
                self._store, slot, plaintext, entry=entry, status=Status.CONNECTED
            ):
                return
        raise VaultConflictError("keeps_changing")

    async def _remove(self, slot: Slot) -> None:
        for _ in range(ATTEMPTS):
            entry = await self._store.load(slot)
            if not is_live(entry):
                raise VaultNotConnectedError("never_connected" if not entry.version else "revoked")
            if await self._store.revoke(slot, expected=entry.version):
                return
        raise VaultConflictError("keeps_changing")


def is_live(entry: Entry) -> bool:
    """Tell whether *entry* holds, or should hold, a secret."""
    if entry.head is not None and entry.head.status is Status.REVOKED:
        return False
    return entry.version > 0


def report_about(
    slot: Slot, name: str, *, outcome: str = "allowed", reason: str = "", **details: bool
) -> None:
    """Report event *name* about *slot*."""
    told: dict[str, str | bool] = {"provider": slot.provider, **details}
    if not slot.user_id:
        told["shared"] = True
    report(name, outcome=outcome, reason=reason, details=told)
