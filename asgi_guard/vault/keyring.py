"""KeyRing: one master that wraps new data keys, and older ones that can still unwrap."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.errors import ConfigError, VaultError, VaultOpenError, VaultUnavailableError
from asgi_guard.protocols import Clock
from asgi_guard.tenancy.bounded import BoundedEntries
from asgi_guard.vault.data_key import KEY_BYTES, DataKey, new_data_key
from asgi_guard.vault.master_key import MasterKeySource
from asgi_guard.vault.records import StoredKey
from asgi_guard.vault.slot import length_prefixed

__all__ = ["KeyRing"]

_REMEMBERED: Final = 1024
_CONTEXT: Final = b"asgi-guard.vault.data-key.v1"


class KeyRing:
    """The master keys of the deployment, and the data keys that they unwrapped lately.

    To rotate the master: put the new one first and the old one under *older* in every process,
    run `VaultRotation`, then take the old one out.

    Args:
        active: Wraps every new data key.
        older: Unwrap what they wrapped before.
        remember: Seconds that an unwrapped data key stays in memory. Each use still reads its
            row, so that a shredded tenant is shut at once.
        timeout: Seconds that a master may take.
        clock: Where "now" comes from.

    Raises:
        ConfigError: Two masters have one id, or a master is none.
    """

    def __init__(
        self,
        active: MasterKeySource,
        *,
        older: Iterable[MasterKeySource] = (),
        remember: float = 300.0,
        timeout: float = 5.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        masters = (active, *older)
        for master in masters:
            if not isinstance(master, MasterKeySource):
                raise ConfigError(
                    "KeyRing", f"a {type(master).__name__} is no master", "Pass a LocalMasterKey."
                )
        self._masters = {master.master_id: master for master in masters}
        if len(self._masters) != len(masters):
            raise ConfigError("KeyRing", "has one master twice", "Name each once.")
        if not timeout > 0:
            raise ConfigError("KeyRing.timeout", f"is {timeout!r}", "Pass more than 0.")
        self._active = active
        self._timeout = timeout
        self._clock = clock
        self._known: BoundedEntries[tuple[str, StoredKey], DataKey] = BoundedEntries(
            _REMEMBERED, remember
        )

    @property
    def active_id(self) -> str:
        """The id of the master that wraps new data keys."""
        return self._active.master_id

    async def make(self, tenant_id: str, number: int) -> tuple[StoredKey, DataKey]:
        """Make the tenant's data key *number*, wrapped by the active master.

        Raises:
            VaultUnavailableError: The master does not answer.
        """
        key = new_data_key()
        wrapped = await self._ask(
            lambda: self._active.wrap(key.reveal(), tenant_id=tenant_id, context=_context(number))
        )
        stored = StoredKey(number, key.key_id, self._active.master_id, wrapped)
        return stored, key

    async def unwrap(self, tenant_id: str, stored: StoredKey) -> DataKey:
        """Return the data key that *stored* wraps.

        Raises:
            VaultOpenError: It is shredded, its master is not in the ring, or it was altered or
                moved.
            VaultUnavailableError: The master does not answer.
        """
        if stored.shredded:
            raise VaultOpenError("vault_shredded")
        now = self._clock.monotonic()
        known = self._known.current((tenant_id, stored), now)
        if known is not None:
            return known[1]
        master = self._masters.get(stored.master_id)
        if master is None:
            raise VaultOpenError("vault_master_unknown")
        key = await self._unwrapped(master, tenant_id, stored)
        if key.key_id != stored.key_id:
            raise VaultOpenError("vault_wrong_key")
        self._known.keep((tenant_id, stored), key, now)
        return key

    def forget(self, tenant_id: str) -> None:
        """Drop the tenant's data keys from memory."""
        self._known.drop(lambda name: name[0] == tenant_id)

    async def _unwrapped(
        self, master: MasterKeySource, tenant_id: str, stored: StoredKey
    ) -> DataKey:
        key = await self._ask(
            lambda: master.unwrap(
                stored.wrapped, tenant_id=tenant_id, context=_context(stored.number)
            )
        )
        if type(key) is not bytes or len(key) != KEY_BYTES:
            raise VaultOpenError("vault_altered")
        return DataKey(key)

    async def _ask(self, call: Callable[[], Awaitable[bytes]]) -> bytes:
        try:
            async with asyncio.timeout(self._timeout):
                return await call()
        except VaultError:
            raise
        except Exception:  # noqa: BLE001, S110 - a service's error may show keys; see below
            pass
        # Outside the handler, so that the service's error is not its context.
        raise VaultUnavailableError("master_key_unreachable")

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._masters)})"


def _context(number: int) -> bytes:
    return length_prefixed(_CONTEXT, number.to_bytes(8, "big"))
