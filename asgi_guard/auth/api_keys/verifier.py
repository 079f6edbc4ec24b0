"""APIKeyVerifier: the half of an API key service that every request needs."""

from __future__ import annotations

from collections.abc import Sequence

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.events import emit
from asgi_guard.auth.api_keys.key_format import KeyFormat
from asgi_guard.auth.api_keys.last_used import LastUsed
from asgi_guard.auth.api_keys.lookups import CachedLookups
from asgi_guard.auth.api_keys.peppers import Peppers
from asgi_guard.auth.api_keys.record import APIKey
from asgi_guard.auth.api_keys.store import APIKeyStore
from asgi_guard.errors import AuthenticationError, ConfigError, UnavailableError
from asgi_guard.protocols import Clock
from asgi_guard.secret import Secret

__all__ = ["APIKeyVerifier"]

_SOON = 5.0  # a revoked key is dead everywhere before this many seconds are over


class APIKeyVerifier:
    """Tell what a key stands for; part of `APIKeyService`.

    Args:
        store: Where keys are found.
        key_format: What they look like.
        peppers: What their digests are made with.
        cache_ttl: Seconds that an answer of the store is believed, 0 to below 5.
        lookup_timeout: Seconds for one look-up, below 5.
        cache_size: How many keys, and how many refusals, are remembered.
        last_used_every: Seconds between two writes of a key's last use.
        clock: Unix and monotonic seconds.

    Raises:
        ConfigError: A setting is out of range.
    """

    def __init__(
        self,
        store: APIKeyStore,
        *,
        key_format: KeyFormat,
        peppers: Peppers,
        cache_ttl: float = 3.0,
        lookup_timeout: float = 2.0,
        cache_size: int = 10_000,
        last_used_every: float = 600.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        _check("cache_ttl", cache_ttl, within=0 <= cache_ttl < _SOON)
        _check("lookup_timeout", lookup_timeout, within=0 < lookup_timeout < _SOON)
        _check("cache_size", cache_size, within=cache_size >= 1)
        _check("last_used_every", last_used_every, within=last_used_every >= 60)  # noqa: PLR2004
        if isinstance(store, type) or not isinstance(store, APIKeyStore):
            raise ConfigError("APIKeyService.store", f"{store!r} is none", "Pass an instance.")
        self.key_format = key_format
        self._peppers = peppers
        self._clock = clock
        self._lookups = CachedLookups(
            store, ttl=cache_ttl, timeout=lookup_timeout, size=cache_size, clock=clock
        )
        self._used = LastUsed(store, every=last_used_every, size=cache_size, clock=clock)

    async def verify(
        self, key: Secret, *, client: str | None = None, request_id: str | None = None
    ) -> APIKey:
        """Return what *key* stands for, and leave an event.

        Args:
            key: As it was sent; never kept.
            client: Address, for the event.
            request_id: For the event.

        Raises:
            AuthenticationError: It is malformed, unknown, expired or revoked. The caller is told
                the same in each case.
            UnavailableError: The store does not answer.
        """
        try:
            record, fresh = await self.judge(key)
        except (AuthenticationError, UnavailableError) as refusal:
            emit(
                "API_KEY_REFUSED",
                outcome="error" if isinstance(refusal, UnavailableError) else "denied",
                reason=refusal.reason,
                details=refusal.details,
                client=client,
                request_id=request_id,
            )
            refusal.reported = True
            raise
        if fresh:
            self._tell(record, client, request_id)
        return record

    async def judge(self, key: Secret) -> tuple[APIKey, bool]:
        """Return what *key* stands for, and whether the store was asked; leave no event.

        Raises:
            AuthenticationError: As from `verify`.
            UnavailableError: The store does not answer.
        """
        plain = key.reveal()
        digests = self._peppers.digests(plain) if self.key_format.is_well_formed(plain) else ()
        del plain  # error trackers record locals
        if not digests:
            raise AuthenticationError("api_key_malformed")
        record, fresh = await self._find(digests)
        self._used.note(record)
        return record, fresh

    async def check_again(self, record: APIKey) -> None:
        """Refuse what `judge` returned a while ago and opens nothing now.

        Raises:
            AuthenticationError: It was revoked, has expired, or is gone.
            UnavailableError: The store does not answer.
        """
        await self._find((record.digest,))

    def defect(self, record: APIKey | None) -> str:
        """Return why *record* opens nothing now, or ``""``."""
        if record is None:
            return "api_key_unknown"
        state = record.state(self._clock.now())
        return "" if state == "active" else f"api_key_{state}"

    def forget(self) -> None:
        """Believe no remembered answer: something has changed."""
        self._lookups.forget()

    async def close(self) -> None:
        """Wait for what is still being written; for an app's shutdown."""
        await self._used.drain()

    async def _find(self, digests: Sequence[bytes]) -> tuple[APIKey, bool]:
        record, fresh = await self._lookups.find(digests)
        reason = self.defect(record)
        if record is None or reason:
            refusal = AuthenticationError(reason)
            refusal.details = {} if record is None else {"api_key_id": record.key_id}
            raise refusal
        return record, fresh

    def _tell(self, record: APIKey, client: str | None, request_id: str | None) -> None:
        emit(
            "API_KEY_VERIFIED",
            outcome="allowed",
            details={"api_key_id": record.key_id},
            tenant_id=record.tenant_id,
            user_id=record.user_id,
            auth_method="api_key",
            client=client,
            request_id=request_id,
        )


def _check(name: str, value: float, *, within: bool) -> None:
    if not within:
        raise ConfigError(
            f"APIKeyService.{name}",
            f"{value!r} is out of range",
            "A revoked key must be dead in under 5 seconds, and a last use is minutes coarse.",
        )
