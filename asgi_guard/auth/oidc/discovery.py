"""Discovery: the metadata and keys of providers, fetched seldom and kept in bounds."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

from asgi_guard.auth.jose.remote_keys import RemoteKeys
from asgi_guard.auth.oidc.documents import ProviderClient
from asgi_guard.auth.oidc.metadata import ProviderMetadata, discovery_url, read_metadata
from asgi_guard.auth.oidc.provider import OIDCProvider
from asgi_guard.errors import GuardError, LoginRefusedError, UnavailableError
from asgi_guard.protocols import Clock

__all__ = ["Discovery", "KnownProvider"]

_TTL: Final = 3600.0
_STALE_FOR: Final = 86_400.0
_COOLDOWN: Final = 10.0
_MOST: Final = 512
_Key = tuple[str, tuple[str, ...], bool]


class KnownProvider:
    """What is known of one issuer, and when it was learnt.

    Args:
        metadata: Of the issuer.
        keys: Its published keys.
        learnt_at: Monotonic seconds.
    """

    __slots__ = ("keys", "learnt_at", "metadata")

    def __init__(self, metadata: ProviderMetadata, keys: RemoteKeys, learnt_at: float) -> None:
        self.metadata = metadata
        self.keys = keys
        self.learnt_at = learnt_at


class Discovery:
    """Find out about providers.

    Args:
        client: How they are asked.
        clock: Where "now" comes from.

    What was learnt is used for an hour, and for a day more while the provider does not answer. A
    failure is remembered for ten seconds: a crowd at the login page is not one at the provider.
    At most 512 issuers are kept; the one that was used least recently goes first. Use it on one
    event loop.
    """

    def __init__(self, client: ProviderClient, *, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._known: OrderedDict[_Key, KnownProvider] = OrderedDict()
        self._failed: OrderedDict[_Key, tuple[float, GuardError]] = OrderedDict()
        self._flights: dict[_Key, asyncio.Task[GuardError | None]] = {}

    async def learn(self, provider: OIDCProvider) -> KnownProvider:
        """Return what is known of *provider*, asking it if need be.

        Raises:
            UnavailableError: It does not answer.
            LoginRefusedError: It answers with what no provider says.
        """
        key = (provider.issuer, tuple(provider.algorithms), provider.insecure_allow_http)
        known, now = self._known.get(key), self._clock.monotonic()
        failure = None
        if known is None or now - known.learnt_at >= _TTL:
            failure = await self._refreshed(key, provider, now)
            known = self._known.get(key)
        if known is None or self._clock.monotonic() - known.learnt_at >= _TTL + _STALE_FOR:
            raise _again(failure)
        self._known.move_to_end(key)
        return known

    async def _refreshed(self, key: _Key, provider: OIDCProvider, now: float) -> GuardError | None:
        failed_at, failure = self._failed.get(key, (-float("inf"), None))
        if now - failed_at < _COOLDOWN:
            return failure
        if key not in self._flights:
            flight = asyncio.get_running_loop().create_task(self._fetched(key, provider))
            self._flights[key] = flight
        # Shielded: the caller that began it may hang up while others wait.
        return await asyncio.shield(self._flights[key])

    async def _fetched(self, key: _Key, provider: OIDCProvider) -> GuardError | None:
        try:
            url = discovery_url(provider.issuer)
            answer = await self._client.ask("GET", url, what="discovery")
            metadata = read_metadata(answer.members, provider)
            self._remember(key, provider, metadata)
        except (LoginRefusedError, UnavailableError) as error:
            self._failed[key] = (self._clock.monotonic(), error)
            self._failed.move_to_end(key)
            _trim(self._failed)
            return error
        finally:
            del self._flights[key]
        return None

    def _remember(self, key: _Key, provider: OIDCProvider, metadata: ProviderMetadata) -> None:
        old = self._known.get(key)
        if old is not None and old.metadata.jwks_uri == metadata.jwks_uri:
            keys = old.keys
        else:
            keys = RemoteKeys(
                metadata.jwks_uri,
                fetch=self._client.fetch,
                algorithms=tuple(provider.policy.algorithms),
                seconds=self._client.seconds,
                clock=self._clock,
                insecure_allow_http=provider.insecure_allow_http,
            )
        self._failed.pop(key, None)
        self._known[key] = KnownProvider(metadata, keys, self._clock.monotonic())
        self._known.move_to_end(key)
        _trim(self._known)


def _trim(
    entries: OrderedDict[_Key, KnownProvider] | OrderedDict[_Key, tuple[float, GuardError]],
) -> None:
    while len(entries) > _MOST:
        entries.popitem(last=False)


def _again(failure: GuardError | None) -> GuardError:
    """Return the failure as an error of this call: a shared one would collect tracebacks."""
    if isinstance(failure, LoginRefusedError):
        return LoginRefusedError(failure.reason)
    reason = failure.reason if isinstance(failure, UnavailableError) else "discovery_unreachable"
    return UnavailableError(reason)
