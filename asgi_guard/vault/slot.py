"""Slot: whose secret for which third party; the place that an envelope is bound to."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final, NamedTuple

from asgi_guard.errors import ConfigError

__all__ = ["Slot", "check_provider", "length_prefixed", "secret_provider"]

_PROVIDER: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_GENERIC: Final = "secret:"  # no provider has a colon in its name, so the two never meet
_BINDING_DOMAIN: Final = b"asgi-guard.vault.slot.v1"
_LENGTH_BYTES: Final = 4


class Slot(NamedTuple):
    """One place for one secret.

    Args:
        tenant_id: The tenant, as its context spells it.
        user_id: The user; ``""``, which no user has, for what belongs to the whole tenant.
        provider: A provider's name, or ``secret:<name>`` for a secret that is no OAuth token.
    """

    tenant_id: str
    user_id: str
    provider: str

    def binding(self) -> bytes:
        """Return 32 bytes that differ for any two slots (SHA-256)."""
        return sha256(length_prefixed(_BINDING_DOMAIN, *self.encoded())).digest()

    def encoded(self) -> tuple[bytes, bytes, bytes]:
        """Return the three ids as UTF-8; half a surrogate pair stays itself."""
        tenant, user, provider = (part.encode("utf-8", "surrogatepass") for part in self)
        return tenant, user, provider


def length_prefixed(*parts: bytes) -> bytes:
    """Join *parts* so that no other parts give the same bytes: each behind its length.

    Without lengths ``("ab", "c")`` and ``("a", "bc")`` would authenticate each other's secrets.
    """
    return b"".join(len(part).to_bytes(_LENGTH_BYTES, "big") + part for part in parts)


def check_provider(provider: str) -> str:
    """Return *provider*, the name of a third party such as ``"google"``.

    Raises:
        ConfigError: It is not 1 to 63 of ``a-z 0-9 . _ -``, beginning with a letter or digit.
    """
    if not isinstance(provider, str) or not _PROVIDER.fullmatch(provider):
        raise ConfigError(
            "vault.provider",
            "is not 1 to 63 of a-z, 0-9, '.', '_' and '-'",
            'Give a plain name, e.g. "google".',
        )
    return provider


def secret_provider(name: str) -> str:
    """Return what stands for the provider of a secret that is no OAuth token.

    Raises:
        ConfigError: As `check_provider`.
    """
    return _GENERIC + check_provider(name)
