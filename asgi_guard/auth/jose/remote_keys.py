"""RemoteKeys: the published keys of another issuer, fetched seldom and never in a crowd."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.events import emit
from asgi_guard._internal.pools import BoundedPool
from asgi_guard.auth.jose.algorithms import SHORTEST_SECRET, canonical_algorithm
from asgi_guard.auth.jose.jwks_parser import parse_jwks
from asgi_guard.auth.jose.verification_key import VerificationKey
from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.protocols import Clock, Fetch

__all__ = ["RemoteKeys"]

_OK: Final = 200
_LONGEST_DOCUMENT: Final = 256 * 1024
_PARSERS: Final = BoundedPool("jose-jwks", workers=1, queue=64, full="jwks_parsers_busy")


class RemoteKeys:
    """Keys of a JWKS address, for a `TokenVerifier`.

    Args:
        url: Of the JWK Set, configured and never taken from a token; ``https://``.
        fetch: How it is fetched. It must not follow redirects.
        algorithms: Of the keys that are wanted; no symmetric ones.
        ttl: Seconds after which a use fetches the document again, in the background.
        stale_for: Seconds beyond *ttl* for which the known keys stay in use when that fails.
        cooldown: Fewest seconds between two fetches, whoever asks for which ``kid``: a token
            with a made-up name must not become a request to the issuer.
        seconds: Longest that a fetch may take.
        clock: Where "now" comes from.
        insecure_allow_http: Take an ``http://`` address, on loopback or in tests.

    Raises:
        ConfigError: An option is not what it should be.

    However many requests wait, one fetch is under way. A failed fetch evicts nothing and leaves
    an event ``JWKS_FETCH_FAILED``. Use it on one event loop.
    """

    def __init__(
        self,
        url: str,
        *,
        fetch: Fetch,
        algorithms: tuple[str, ...] = ("RS256",),
        ttl: float = 300.0,
        stale_for: float = 3600.0,
        cooldown: float = 30.0,
        seconds: float = 5.0,
        clock: Clock = SYSTEM_CLOCK,
        insecure_allow_http: bool = False,
    ) -> None:
        schemes = ("https://", "http://") if insecure_allow_http else ("https://",)
        if not isinstance(url, str) or not url.startswith(schemes):
            raise ConfigError("url", "is no https:// address", "Keys decide who is who.")
        self._algorithms = tuple(canonical_algorithm(each) for each in algorithms)
        if not self._algorithms or set(self._algorithms) & set(SHORTEST_SECRET):
            raise ConfigError("algorithms", f"is {algorithms!r}", 'Pass e.g. ("RS256",).')
        if min(ttl, cooldown, seconds) <= 0 or stale_for < 0:
            raise ConfigError("ttl", "or another time is not positive", "Pass seconds.")
        self._url, self._fetch, self._seconds = url, fetch, seconds
        self._ttl, self._stale_for, self._cooldown = ttl, stale_for, cooldown
        self._clock = clock
        self._keys: dict[str | None, VerificationKey] = {}
        self._fetched_at = self._tried_at = -float("inf")
        self._flight: asyncio.Task[None] | None = None

    def find(self, kid: str | None, algorithm: str) -> VerificationKey | None:
        """Return the key called *kid*, or the only one of *algorithm*, if it is known well enough.

        A document older than *ttl* is still used, and fetched again meanwhile; one older than
        *ttl* and *stale_for* is not used.
        """
        age = self._clock.monotonic() - self._fetched_at
        if age > self._ttl + self._stale_for:
            return None
        if age > self._ttl and self._may_try():
            self._fly()
        if kid is not None:
            return self._keys.get(kid) or self._keys.get(None)
        fitting = [key for key in self._keys.values() if key.takes(algorithm)]
        return fitting[0] if len(fitting) == 1 else None

    async def look_again(self, _kid: str | None) -> None:
        """Fetch the document, unless that was tried within the cooldown; join a fetch under way.

        Raises:
            UnavailableError: There are no keys to judge by: none came yet, or they are too old.
        """
        if self._flight is None and self._may_try():
            self._fly()
        if self._flight is not None:
            # Shielded: the caller that began it may hang up while others wait.
            await asyncio.shield(self._flight)
        if self._clock.monotonic() - self._fetched_at > self._ttl + self._stale_for:
            raise UnavailableError("jwks_unreachable")

    def _may_try(self) -> bool:
        return self._clock.monotonic() - self._tried_at >= self._cooldown

    def _fly(self) -> None:
        if self._flight is None:
            self._tried_at = self._clock.monotonic()
            self._flight = asyncio.get_running_loop().create_task(self._refresh())

    async def _refresh(self) -> None:
        try:
            self._keys = self._merged(await self._fetched())
            self._fetched_at = self._clock.monotonic()
        except Exception as error:  # noqa: BLE001 - the keys that are known stay in use
            emit(
                "JWKS_FETCH_FAILED",
                outcome="error",
                clock=self._clock,
                reason=error.reason if isinstance(error, UnavailableError) else "",
                details={"error": type(error).__name__},
            )
        finally:
            self._flight = None

    async def _fetched(self) -> dict[str | None, VerificationKey]:
        async with asyncio.timeout(self._seconds):
            response = await self._fetch("GET", self._url, max_bytes=_LONGEST_DOCUMENT)
        if response.status != _OK or len(response.body) > _LONGEST_DOCUMENT:
            raise ConfigError("jwks", f"came with status {response.status}", "See the address.")
        read = partial(parse_jwks, response.body, algorithms=self._algorithms)
        return await _PARSERS.run(read)

    def _merged(self, new: dict[str | None, VerificationKey]) -> dict[str | None, VerificationKey]:
        """Keep the objects of keys that are still the same: verified tokens hang on them."""
        old = self._keys
        return {
            kid: old[kid] if kid in old and old[kid].is_same(key) else key
            for kid, key in new.items()
        }
