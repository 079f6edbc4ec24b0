"""DualAlgorithmVerifier: two families of algorithms until a date, while one replaces the other.

There is no point at which one key could be taken for the other's: each side is a verifier of its
own with its own policy, keys and cache. The ``alg`` of a token only says which of them refuses it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.events import emit
from asgi_guard.auth.jose.algorithms import SHORTEST_SECRET
from asgi_guard.auth.jose.base64url import b64url_decode
from asgi_guard.auth.jose.compact_jws import token_bytes
from asgi_guard.auth.jose.policy import JwtPolicy
from asgi_guard.auth.jose.refusal import refuse, without_frames
from asgi_guard.auth.jose.strict_json import strict_object
from asgi_guard.auth.jose.verified_token import VerifiedToken
from asgi_guard.auth.jose.verifier import TokenVerifier
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Clock

__all__ = ["DualAlgorithmVerifier"]

_LONGEST: Final = 366 * 86_400.0
_TELL_EVERY: Final = 60.0
_LONGEST_HEADER: Final = 4096


class DualAlgorithmVerifier:
    """Verify tokens with the keys of today, and for a while with the secret of yesterday.

    Args:
        current: Its policy has asymmetric algorithms only, e.g. RS256.
        legacy: Its policy has symmetric ones only, e.g. HS256.
        until: Unix seconds from which on tokens of the legacy side are refused, with the reason
            ``legacy_algorithm_ended``, however good their signature; at most a year ahead.
        clock: Where "now" comes from.

    Raises:
        ConfigError: The two sides are not of two families, the legacy one knows fewer types of
            token or no revocations, or there is no end within a year.

    Stands wherever a `TokenVerifier` does. `counts` says how many tokens of each algorithm were
    accepted. Legacy ones also leave ``LEGACY_TOKEN_ACCEPTED``, at most once a minute, with how
    many there were: silence for as long as the longest token lives means that it can end.
    """

    def __init__(
        self,
        *,
        current: TokenVerifier,
        legacy: TokenVerifier,
        until: float,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        symmetric = set(SHORTEST_SECRET)
        if symmetric & set(current.policy.algorithms):
            raise ConfigError("current", "takes symmetric algorithms", "Pass e.g. RS256 only.")
        if not set(legacy.policy.algorithms) <= symmetric:
            raise ConfigError("legacy", "takes asymmetric algorithms", "Pass e.g. HS256 only.")
        if not set(current.policy.types) <= set(legacy.policy.types):
            raise ConfigError("legacy", f"does not judge {current.policy.types}", "Name the types.")
        if current.asks_for_revocations and not legacy.asks_for_revocations:
            raise ConfigError(
                "legacy",
                "is not asked what was revoked, so a revoked user's old token goes on",
                "Give it the revocations that `current` has.",
            )
        if type(until) not in {int, float} or not 0 < until <= clock.now() + _LONGEST:
            raise ConfigError("until", f"is {until!r}", "Pass Unix seconds, a year ahead at most.")
        self._current, self._legacy = current, legacy
        self._legacy_algorithms = frozenset(legacy.policy.algorithms)
        self._until, self._clock = until, clock
        self._counts: Counter[str] = Counter()
        self._untold, self._next_event = 0, 0.0
        self._lock = threading.Lock()

    @property
    def policy(self) -> JwtPolicy:
        """The policy of the current side."""
        return self._current.policy

    @property
    def counts(self) -> Mapping[str, int]:
        """How many tokens were accepted, by algorithm; for a metric."""
        with self._lock:
            return dict(self._counts)

    async def verify(self, token: bytes | str, *, token_type: str = "access") -> VerifiedToken:  # noqa: S107 - a kind of token
        """Return what *token* proves; see `TokenVerifier.verify`.

        Raises:
            AuthenticationError: It does not hold, or is of the legacy side, whose time is over.
            UnavailableError: The keys cannot be had now.
            ConfigError: The policy of its side has no such type.
        """
        judged = self._judged(token, token_type)
        del token
        return await without_frames(judged)

    async def check_again(self, found: VerifiedToken) -> None:
        """Refuse what was verified a while ago and holds no more; see `TokenVerifier.check_again`.

        Raises:
            AuthenticationError: It has ended, or is of the legacy side, whose time is over.
            UnavailableError: The keys, or the revocations, cannot be had now.
        """
        if found.algorithm not in self._legacy_algorithms:
            await self._current.check_again(found)
            return
        if self._clock.now() >= self._until:
            refuse("legacy_algorithm_ended", found.details)
        await self._legacy.check_again(found)

    async def _judged(self, token: bytes | str, token_type: str) -> VerifiedToken:
        raw = token_bytes(token)
        if _algorithm(raw[:_LONGEST_HEADER].partition(b".")[0]) not in self._legacy_algorithms:
            found = await self._current.verify(raw, token_type=token_type)
            self._count(found.algorithm)
            return found
        if self._clock.now() >= self._until:
            refuse("legacy_algorithm_ended")
        found = await self._legacy.verify(raw, token_type=token_type)
        self._count(found.algorithm)
        self._tell()
        return found

    def forget_verified(self) -> None:
        """Empty both caches, so that each token is verified again."""
        self._current.forget_verified()
        self._legacy.forget_verified()

    def _count(self, algorithm: str) -> None:
        with self._lock:
            self._counts[algorithm] += 1

    def _tell(self) -> None:
        with self._lock:
            self._untold += 1
            now = self._clock.monotonic()
            if now < self._next_event:
                return
            self._next_event = now + _TELL_EVERY
            count, self._untold = self._untold, 0
        emit(
            "LEGACY_TOKEN_ACCEPTED",
            outcome="allowed",
            clock=self._clock,
            details={"count": count, "ends_at": self._until},
        )


@lru_cache(maxsize=256)  # an issuer writes a handful of headers
def _algorithm(header: bytes) -> str:
    """Return what the header of a token says, or ``""``; only to choose who judges it."""
    found = strict_object(b64url_decode(header) or b"")
    name = None if found is None else found.get("alg")
    return name if isinstance(name, str) else ""
