"""Tokens that were verified already, so that the next request need not verify them again."""

from __future__ import annotations

import threading
from hashlib import sha256
from typing import NamedTuple

from asgi_guard.auth.jose.key_source import KeySource
from asgi_guard.auth.jose.verification_key import VerificationKey
from asgi_guard.auth.jose.verified_token import VerifiedToken

__all__ = ["CacheCounts", "VerifiedCache"]


class CacheCounts(NamedTuple):
    """How often a token was found remembered, how often not, and how many are."""

    hits: int
    misses: int
    entries: int


class _Entry(NamedTuple):
    token: VerifiedToken
    key: VerificationKey
    kid: str | None


class VerifiedCache:
    """Verified tokens by the SHA-256 of policy, type and whole token, signature included.

    A token is found until it expires and for as long as the key that verified it is still the one
    that its source gives for it: retirement and revocation of a key end its cached tokens at
    once. Refusals are not kept; neither are tokens, only their hashes.

    Args:
        policy_hash: Of the policy they were verified under.
        size: Most entries; the oldest goes first. 0 keeps nothing.
    """

    __slots__ = ("_entries", "_hits", "_lock", "_misses", "_policy", "size")

    def __init__(self, policy_hash: str, *, size: int) -> None:
        self.size = size
        self._policy = policy_hash.encode()
        self._entries: dict[bytes, _Entry] = {}
        self._lock = threading.Lock()
        self._hits = self._misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def counts(self) -> CacheCounts:
        """What it has been good for; threads may make it miss a few."""
        return CacheCounts(self._hits, self._misses, len(self._entries))

    def name(self, token: bytes, token_type: str) -> bytes:
        """Return the hash under which a token is kept."""
        return sha256(b"%b.%b.%b" % (self._policy, token_type.encode(), token)).digest()

    def get(self, name: bytes, *, keys: KeySource, now: float) -> VerifiedToken | None:
        """Return a token that would still verify, or None."""
        entry = self._entries.get(name)
        if entry is None:
            self._misses += 1
            return None
        if (
            now < entry.token.expires_at
            and keys.find(entry.kid, entry.token.algorithm) is entry.key
        ):
            self._hits += 1
            return entry.token
        self._misses += 1
        self._entries.pop(name, None)
        return None

    def put(self, name: bytes, token: VerifiedToken, key: VerificationKey, now: float) -> None:
        """Keep a token that was just verified with *key*."""
        if not self.size:
            return
        with self._lock:
            while len(self._entries) >= self.size:
                self._make_room(now)
            self._entries[name] = _Entry(token, key, token.kid)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()

    def _make_room(self, now: float) -> None:
        # Copied at once: another thread's get() may take an entry out meanwhile.
        ended = [name for name, each in list(self._entries.items()) if each.token.expires_at <= now]
        for name in ended or list(self._entries)[: max(1, self.size // 16)]:
            self._entries.pop(name, None)
