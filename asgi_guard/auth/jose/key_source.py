"""Where a verifier finds keys, and the two sources that never change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from asgi_guard.auth.jose.signing_key import SigningKey
from asgi_guard.auth.jose.verification_key import VerificationKey
from asgi_guard.errors import ConfigError

__all__ = ["KeySet", "KeySource", "PinnedKey", "SigningKeySource"]


@runtime_checkable
class KeySource(Protocol):
    """Where a verifier finds keys. `find` is on the hot path and does no I/O."""

    def find(self, kid: str | None, algorithm: str) -> VerificationKey | None:
        """Return the key that verifies now for *kid*, or None.

        The same key is the same object until it is retired, revoked or replaced: a cache of
        verified tokens compares by identity. Without a *kid* there must be no choice.
        """

    async def look_again(self, kid: str | None) -> None:
        """Learn of keys that appeared since, if that is possible; `find` is then asked again."""


@runtime_checkable
class SigningKeySource(Protocol):
    """Where an issuer finds the key that signs now."""

    @property
    def grace(self) -> float:
        """Seconds for which a key verifies after it has ceased to sign."""

    def signing_key(self) -> SigningKey:
        """Return the key, its algorithm and its kid, as one object."""


class PinnedKey:
    """One key, whatever the token calls it.

    Args:
        key: The key.
    """

    __slots__ = ("_key",)

    def __init__(self, key: VerificationKey) -> None:
        self._key = key

    def find(self, _kid: str | None, _algorithm: str) -> VerificationKey | None:
        """Return the key."""
        return self._key

    async def look_again(self, _kid: str | None) -> None:
        """Do nothing: the key is pinned."""


class KeySet:
    """Keys that are configured, and do not change until the app is restarted.

    Args:
        keys: Each with another ``kid``; a single key may do without.

    Raises:
        ConfigError: There is none, two share a ``kid``, one of several has none, or symmetric and
            asymmetric keys are mixed: a public key could then be used as a secret (the class of
            CVE-2022-29217 and CVE-2024-33663).
    """

    __slots__ = ("_by_kid", "_keys")

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        self._keys = tuple(keys)
        self._by_kid = {key.kid: key for key in self._keys}
        if not self._keys:
            raise ConfigError("keys", "is empty", "Pass at least one VerificationKey.")
        if len(self._by_kid) != len(self._keys) or (len(self._keys) > 1 and None in self._by_kid):
            raise ConfigError("keys", "has keys without a kid of their own", "Name each key.")
        if len({key.is_symmetric for key in self._keys}) != 1:
            raise ConfigError(
                "keys", "mixes secrets and public keys", "Make one KeySet and verifier for each."
            )

    def find(self, kid: str | None, algorithm: str) -> VerificationKey | None:
        """Return the key named *kid*; without a name, the only one of *algorithm*."""
        if kid is not None:
            return self._by_kid.get(kid) or self._by_kid.get(None)
        fitting = [key for key in self._keys if key.takes(algorithm)]
        return fitting[0] if len(fitting) == 1 else None

    async def look_again(self, _kid: str | None) -> None:
        """Do nothing: the set is configured."""
