"""APIKeyService: create, verify, rotate and revoke API keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.auth.api_keys.grants import check_creator, check_tenant
from asgi_guard.auth.api_keys.key_format import KeyFormat
from asgi_guard.auth.api_keys.maker import KeyMaker
from asgi_guard.auth.api_keys.peppers import Peppers
from asgi_guard.auth.api_keys.record import APIKey, IssuedKey
from asgi_guard.auth.api_keys.reporting import reported
from asgi_guard.auth.api_keys.store import APIKeyStore
from asgi_guard.auth.api_keys.verifier import APIKeyVerifier
from asgi_guard.errors import ConflictError, RequestInvalidError
from asgi_guard.protocols import Clock
from asgi_guard.secret import Secret

__all__ = ["APIKeyService"]

DAY: Final = 86_400.0
_LONGEST_OVERLAP: Final = 90 * DAY


class APIKeyService:
    """API keys of one app and environment.

    Args:
        store: Where they are kept.
        key_format: What they look like.
        pepper: Secret of the app under which digests are made; kept apart from the database.
        previous_peppers: Still good for keys that were made under them.
        scopes: The scopes there are; None accepts any scope token.
        max_lifetime: Longest life of a key in seconds; None allows keys that do not end.
        insecure_keys_make_keys: Let a request that came with an API key create or rotate keys. A
            stolen key could then make itself successors.
        clock: Unix and monotonic seconds.
        **caching: ``cache_ttl`` (3 seconds: how long a revoked key may go on working in another
            process; 0 asks at each request; below 5), ``lookup_timeout`` (2 seconds, below 5),
            ``cache_size`` (10,000), ``last_used_every`` (600 seconds).

    Raises:
        ConfigError: A setting is out of range.

    Each operation leaves one event: ``API_KEY_CREATED``, ``API_KEY_ROTATED``,
    ``API_KEY_REVOKED``, ``API_KEY_REFUSED``; ``API_KEY_VERIFIED`` when the store was asked, not
    when the answer was remembered. An exception of the store becomes `UnavailableError`.
    """

    def __init__(
        self,
        store: APIKeyStore,
        *,
        key_format: KeyFormat,
        pepper: Secret,
        previous_peppers: Sequence[Secret] = (),
        scopes: Iterable[str] | None = None,
        max_lifetime: float | None = 366 * DAY,
        insecure_keys_make_keys: bool = False,
        clock: Clock = SYSTEM_CLOCK,
        **caching: Any,
    ) -> None:
        peppers = Peppers(pepper, previous_peppers)
        self._verifier = APIKeyVerifier(
            store, key_format=key_format, peppers=peppers, clock=clock, **caching
        )
        self.key_format = key_format
        self._store = store
        self._maker = KeyMaker(
            key_format, peppers, scopes=scopes, max_lifetime=max_lifetime, clock=clock
        )
        self._keys_make_keys = insecure_keys_make_keys
        self._clock = clock

    async def create(
        self,
        *,
        name: str,
        tenant_id: str,
        user_id: str,
        scopes: Iterable[str] = (),
        expires_in: float | None = 90 * DAY,
    ) -> IssuedKey:
        """Make a key, which the result shows for the first and last time.

        Args:
            name: 1 to 100 printable characters.
            tenant_id: The tenant it opens; within a request, the request's own.
            user_id: Whom it acts for.
            scopes: What it grants; within a request, no more than its credential does.
            expires_in: Seconds; None for no end, if *max_lifetime* allows that.

        Raises:
            RequestInvalidError: A value is malformed, or its life too long.
            TenantAccessError: It is another tenant than the request's.
            InsufficientScopeError: It would grant more than its creator has.
            UnavailableError: The store does not answer.
        """
        with reported("API_KEY_CREATED") as details:
            granted = self._maker.granted(scopes)
            check_creator(tenant_id, granted, keys_make_keys=self._keys_make_keys)
            issued = self._maker.make(name, tenant_id, user_id, granted, expires_in)
            details |= {"api_key_id": issued.record.key_id, "for_tenant": tenant_id}
            await self._store.add(issued.record)
        return issued

    async def verify(
        self, key: str, *, client: str | None = None, request_id: str | None = None
    ) -> APIKey:
        """Return what *key* stands for; see `APIKeyVerifier.verify`.

        Raises:
            AuthenticationError: It is malformed, unknown, expired or revoked. The caller is told
                the same in each case.
            UnavailableError: The store does not answer.
        """
        secret = Secret(key)
        del key  # error trackers record locals
        return await self._verifier.verify(secret, client=client, request_id=request_id)

    async def judge(self, key: Secret) -> APIKey:
        """Return what *key* stands for, and leave the event to the caller.

        Raises:
            AuthenticationError: As from `verify`.
            UnavailableError: The store does not answer.
        """
        record, _ = await self._verifier.judge(key)
        return record

    async def check_again(self, record: APIKey) -> None:
        """Refuse what `judge` returned a while ago and opens nothing now.

        Raises:
            AuthenticationError: It was revoked, has expired, or is gone.
            UnavailableError: The store does not answer.
        """
        await self._verifier.check_again(record)

    async def rotate(
        self,
        key_id: str,
        *,
        tenant_id: str,
        overlap: float = DAY,
        expires_in: float | None = None,
    ) -> IssuedKey:
        """Make a successor with the same rights, and let the old key end after *overlap*.

        Args:
            key_id: The key to replace.
            tenant_id: Whose it is.
            overlap: Seconds that both work; 0 if the old one leaked.
            expires_in: Life of the successor; by default as long as the old key had.

        Raises:
            ConflictError: There is no such active key in the tenant, or it has a successor.
            RequestInvalidError: The overlap is negative, or longer than 90 days.
            TenantAccessError: It is another tenant than the request's.
            InsufficientScopeError: As for `create`.
            UnavailableError: The store does not answer.
        """
        with reported("API_KEY_ROTATED", api_key_id=key_id) as details:
            check_tenant(tenant_id)
            if not 0 <= overlap <= _LONGEST_OVERLAP:
                raise RequestInvalidError("overlap_malformed")
            old, now = await self._store.get(key_id, tenant_id), self._clock.now()
            if old is None or self._verifier.defect(old):
                raise ConflictError("api_key_not_active")
            check_creator(tenant_id, old.scopes, keys_make_keys=self._keys_make_keys)
            if expires_in is None and old.expires_at is not None:
                expires_in = old.expires_at - old.created_at
            issued = self._maker.make(old.name, tenant_id, old.user_id, old.scopes, expires_in)
            until = min(now + overlap, old.expires_at or now + overlap)
            if not await self._store.supersede(key_id, issued.record, until=until, now=now):
                raise ConflictError("api_key_not_active")
            self._verifier.forget()
            details |= {"successor_id": issued.record.key_id, "for_tenant": tenant_id}
        return issued

    async def revoke(self, key_id: str, *, tenant_id: str) -> bool:
        """Revoke a key: at once here, in under 5 seconds everywhere.

        Returns:
            False if there is no such key in the tenant, or it was revoked before.

        Raises:
            TenantAccessError: It is another tenant than the request's.
            UnavailableError: The store does not answer; it may not be revoked.
        """
        with reported("API_KEY_REVOKED", api_key_id=key_id, for_tenant=tenant_id) as details:
            check_tenant(tenant_id)
            revoked = await self._store.revoke(key_id, tenant_id, at=self._clock.now())
            self._verifier.forget()
            if not revoked:
                details["reason"] = "api_key_not_there"
        return revoked

    async def revoke_all(self, *, tenant_id: str, user_id: str | None = None) -> int:
        """Revoke every key of a tenant, or of one user in it; return how many it were.

        Raises:
            TenantAccessError: It is another tenant than the request's.
            UnavailableError: The store does not answer.
        """
        with reported("API_KEY_REVOKED", for_tenant=tenant_id) as details:
            check_tenant(tenant_id)
            now = self._clock.now()
            count = await self._store.revoke_all(tenant_id, user_id=user_id, at=now)
            self._verifier.forget()
            details["count"] = count
        return count

    async def list_keys(
        self, *, tenant_id: str, user_id: str | None = None, limit: int = 100
    ) -> list[APIKey]:
        """Return the newest keys of a tenant, or of one user in it; no key can be had from it.

        Raises:
            TenantAccessError: It is another tenant than the request's.
            UnavailableError: The store does not answer.
        """
        check_tenant(tenant_id)
        return await self._store.list_keys(tenant_id, user_id=user_id, limit=limit)

    async def close(self) -> None:
        """Wait for what is still being written; for an app's shutdown."""
        await self._verifier.close()
