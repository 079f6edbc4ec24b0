"""The names of the vault's events, for the catalogue. Their details hold no secret."""

from __future__ import annotations

from typing import Final

__all__ = ["VAULT_EVENTS"]

VAULT_EVENTS: Final = {
    "VAULT_CONNECTED": "A provider's token was stored for a user who had none.",
    "VAULT_RECONNECTED": "A provider's token was replaced by the user.",
    "VAULT_VERIFIED": "The provider was asked whether it accepts the token; denied: it does not.",
    "VAULT_REVOKED": "A token was removed; details say whether the provider revoked it as well.",
    "VAULT_OPENED": "A token or secret was opened for use.",
    "VAULT_OPEN_FAILED": "A stored secret is not what belongs in its place; the reason says why.",
    "VAULT_REFRESHED": "An expired token was exchanged, and the new one stored.",
    "VAULT_REFRESH_FAILED": "An expired token could not be exchanged; the old one is kept.",
    "VAULT_SECRET_STORED": "A secret that is no OAuth token was stored.",
    "VAULT_SECRET_REMOVED": "A secret that is no OAuth token was removed.",
    "VAULT_KEY_MADE": "A tenant got a new data key.",
    "VAULT_ROTATED": "A tenant's secrets were sealed anew; details count them.",
    "VAULT_MASTER_RETIRED": "A master key wraps nothing any more and may be destroyed.",
    "VAULT_SHREDDED": "A tenant's data keys were destroyed, and with them every secret.",
}
"""Each name with what it says."""
