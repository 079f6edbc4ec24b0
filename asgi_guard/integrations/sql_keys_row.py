"""A key ring as one sealed row: the private keys, encrypted for their place and version.

Each write makes a data key of its own, which the vault's master wraps, and the row holds all that
belongs together: an old wrapping beside a new envelope cannot be.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from asgi_guard.errors import ConfigError, VaultOpenError
from asgi_guard.vault.envelope import open_envelope, seal
from asgi_guard.vault.keyring import KeyRing
from asgi_guard.vault.records import StoredKey
from asgi_guard.vault.slot import Slot

__all__ = ["SealedRow", "as_bytes", "open_row", "seal_row"]

# No tenant, and no provider, has a colon in its name: no secret of the vault opens in this place.
_OWNER: Final = "asgi-guard:signing-keys"
_PLACE: Final = "keys:ring"
_SHOWN: Final = 80


class SealedRow(NamedTuple):
    """What the table holds of a ring, apart from its name.

    Args:
        version: Counts the writes; bound into the envelope.
        key_id: Which data key seals it; another one for each write.
        master_id: Which master wraps the data key.
        wrapped: The data key as the master gave it.
        envelope: The keys.
    """

    version: int
    key_id: bytes
    master_id: str
    wrapped: bytes
    envelope: bytes


async def seal_row(masters: KeyRing, ring: str, content: bytes, *, version: int) -> SealedRow:
    """Encrypt *content* as version *version* of the ring called *ring*.

    Raises:
        ConfigError: It is longer than an envelope may be, 64 KiB.
        VaultUnavailableError: The master does not answer.
    """
    stored, key = await masters.make(_OWNER, version)
    envelope = seal(content, key=key, slot=_slot(ring), version=version)
    return SealedRow(version, stored.key_id, stored.master_id, stored.wrapped, envelope)


async def open_row(masters: KeyRing, ring: str, row: SealedRow) -> bytes:
    """Decrypt what `seal_row` returned for the same ring.

    Raises:
        ConfigError: No master here opens it, or it is not what was written there.
        VaultUnavailableError: The master does not answer.
    """
    stored = StoredKey(row.version, row.key_id, row.master_id, row.wrapped)
    try:
        key = await masters.unwrap(_OWNER, stored)
        return open_envelope(row.envelope, key=key, slot=_slot(ring), version=row.version)
    except VaultOpenError as refused:
        code = refused.code
    if code == "vault_master_unknown":
        raise ConfigError(
            "SQLKeyStore.masters",
            f"has no master {row.master_id[:_SHOWN]!r}, which seals the keys of {ring!r}",
            "Give that master, under `older` if there is a newer one.",
        )
    raise ConfigError(
        f"signing keys {ring!r}",
        f"do not open ({code}): the row was changed, or belongs elsewhere",
        "Restore them from escrow: asgi-guard keys restore.",
    )


def as_bytes(row: SealedRow) -> SealedRow:
    """Return *row* with bytes, whatever the driver has for them."""
    return row._replace(
        key_id=bytes(row.key_id), wrapped=bytes(row.wrapped), envelope=bytes(row.envelope)
    )


def _slot(ring: str) -> Slot:
    return Slot(_OWNER, ring, _PLACE)
