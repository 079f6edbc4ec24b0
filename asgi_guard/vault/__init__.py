"""Where other services' credentials are kept: sealed for one tenant, one user, one provider.

Protects third-party OAuth tokens and other secrets against whoever reads the database, a backup
or a disk; against a row that is copied into another tenant's place; and against an older one
that is put back. Keys come from one master key, or from a key management service.
"""

from __future__ import annotations

from asgi_guard.vault.connector import Connector
from asgi_guard.vault.file_store import FileVaultStore
from asgi_guard.vault.keyring import KeyRing
from asgi_guard.vault.master_key import (
    LocalMasterKey,
    MasterKeySource,
    new_master_key,
    write_master_key,
)
from asgi_guard.vault.memory_store import InMemoryVaultStore
from asgi_guard.vault.records import Status, VaultStore
from asgi_guard.vault.rotation import RotationProgress, VaultRotation
from asgi_guard.vault.token import OAuthToken
from asgi_guard.vault.vault import TokenVault

__all__ = [
    "Connector",
    "FileVaultStore",
    "InMemoryVaultStore",
    "KeyRing",
    "LocalMasterKey",
    "MasterKeySource",
    "OAuthToken",
    "RotationProgress",
    "Status",
    "TokenVault",
    "VaultRotation",
    "VaultStore",
    "new_master_key",
    "write_master_key",
]
