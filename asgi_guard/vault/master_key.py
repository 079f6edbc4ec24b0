"""Master keys: what wraps the tenants' data keys. Local ones here; others behind the protocol."""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path
from typing import Final, NoReturn, Protocol, runtime_checkable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from asgi_guard._internal.private_files import create_private, read_private
from asgi_guard.errors import ConfigError, VaultOpenError
from asgi_guard.secret import Secret
from asgi_guard.vault.data_key import KEY_BYTES, derive
from asgi_guard.vault.slot import length_prefixed

__all__ = ["LocalMasterKey", "MasterKeySource", "new_master_key", "write_master_key"]

_NONCE_BYTES: Final = 12
_ID_INFO: Final = b"asgi-guard.vault.master-id.v1"
_TENANT_INFO: Final = b"asgi-guard.vault.tenant.v1"
_WRAP_DOMAIN: Final = b"asgi-guard.vault.wrap.v1"
_FEWEST_DISTINCT: Final = 12  # 32 random bytes have fewer with a probability below 2**-80
_LONGEST_FILE: Final = 1024


@runtime_checkable
class MasterKeySource(Protocol):
    """What wraps data keys: `LocalMasterKey`, or a client of a key management service.

    A service gets *tenant_id* and *context* as its encryption context (AWS), additional
    authenticated data (Google Cloud) or the like, so that it too refuses another tenant's key.
    """

    @property
    def master_id(self) -> str:
        """Name of the key, stored with what it wraps; another key needs another name."""

    async def wrap(self, key: bytes, *, tenant_id: str, context: bytes) -> bytes:
        """Encrypt a data key for one tenant."""

    async def unwrap(self, wrapped: bytes, *, tenant_id: str, context: bytes) -> bytes:
        """Decrypt what `wrap` returned, for the same tenant and context only.

        Raises:
            VaultOpenError: It was not wrapped so. Any other exception counts as "does not
                answer" and is not shown to anyone.
        """


class LocalMasterKey:
    """A master key in this process's memory: each tenant's wrapping key is derived from it.

    HKDF-SHA256 (RFC 5869) with the tenant's id in *info*, then AES-256-GCM. A tenant has a
    handful of data keys in its life, far from the 2**32 of NIST SP 800-38D.

    Args:
        key: 32 random bytes in base64, from `new_master_key`, the environment or a secret store.

    Raises:
        ConfigError: It is not base64 of 32 bytes, or a placeholder rather than a random key.
    """

    __slots__ = ("__key", "_master_id")

    def __init__(self, key: Secret) -> None:
        if not isinstance(key, Secret):
            raise ConfigError("LocalMasterKey.key", "is not a Secret", "Wrap it: Secret(text).")
        self.__key = _decoded(key)
        self._master_id = f"local:{derive(self.__key, _ID_INFO, length=8).hex()}"

    @classmethod
    def from_file(cls, path: str | Path) -> LocalMasterKey:
        """Read the key from a file of mode 0600 that belongs to this process's user.

        Blocking; call it at start-up.

        Raises:
            ConfigError: The file is missing, a link, another user's, wider than 0600, or no key.
        """
        file = Path(path)
        try:
            text = Secret(read_private(file, limit=_LONGEST_FILE).decode("ascii", "replace"))
        except FileNotFoundError:
            raise ConfigError(str(file), "is missing", "Make one: write_master_key().") from None
        return cls(text)

    @property
    def master_id(self) -> str:
        """Derived from the key, so that one name never stands for two keys."""
        return self._master_id

    async def wrap(self, key: bytes, *, tenant_id: str, context: bytes) -> bytes:
        """Encrypt a data key for one tenant; returns nonce, ciphertext and tag."""
        nonce = os.urandom(_NONCE_BYTES)
        cipher = AESGCM(self._tenant_key(tenant_id))
        return nonce + cipher.encrypt(nonce, key, _associated(tenant_id, context))

    async def unwrap(self, wrapped: bytes, *, tenant_id: str, context: bytes) -> bytes:
        """Decrypt a data key.

        Raises:
            VaultOpenError: ``vault_altered``.
        """
        key = self._unwrapped(wrapped, tenant_id, context)
        if key is None:
            raise VaultOpenError("vault_altered")
        return key

    def _unwrapped(self, wrapped: bytes, tenant_id: str, context: bytes) -> bytes | None:
        nonce, sealed = wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:]
        if len(nonce) != _NONCE_BYTES:
            return None
        try:
            cipher = AESGCM(self._tenant_key(tenant_id))
            return cipher.decrypt(nonce, sealed, _associated(tenant_id, context))
        except InvalidTag:
            return None

    def _tenant_key(self, tenant_id: str) -> bytes:
        return derive(self.__key, _TENANT_INFO, tenant_id.encode("utf-8", "surrogatepass"))

    def __repr__(self) -> str:
        return f"LocalMasterKey({self._master_id!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a LocalMasterKey is not serialised; read it where it is used")


def new_master_key() -> Secret:
    """Return a fresh random master key in base64."""
    return Secret(base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode())


def write_master_key(path: str | Path) -> None:
    """Write a fresh master key to a new file of mode 0600.

    Raises:
        FileExistsError: There is a file already; a key that is overwritten is lost.
    """
    create_private(Path(path), new_master_key().reveal().encode() + b"\n")


def _associated(tenant_id: str, context: bytes) -> bytes:
    return length_prefixed(_WRAP_DOMAIN, tenant_id.encode("utf-8", "surrogatepass"), context)


def _decoded(text: Secret) -> bytes:
    key = _bytes_of(text)
    problem = ""
    if key is None or len(key) != KEY_BYTES:
        problem = "is not base64 of 32 bytes"
    elif len(set(key)) < _FEWEST_DISTINCT:
        problem = "is a placeholder, not random"
    else:
        return key
    del key  # tracebacks may show their frames' locals
    raise ConfigError("vault.master_key", problem, "Use new_master_key().")


def _bytes_of(text: Secret) -> bytes | None:
    # Both alphabets of RFC 4648, as openssl and Python write them; anything else is a mistake.
    given = text.reveal().strip().replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(given + "=" * (-len(given) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
