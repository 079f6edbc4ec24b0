"""A vault with a provider behind it that rotates refresh tokens, and a clock that tests move."""

from __future__ import annotations

import asyncio
from typing import Any

from asgi_guard.errors import VaultNotConnectedError
from asgi_guard.secret import Secret
from asgi_guard.vault import (
    Connector,
    KeyRing,
    LocalMasterKey,
    OAuthToken,
    TokenVault,
    VaultStore,
    new_master_key,
)
from tests.support.tenancy_world import MovedClock

__all__ = ["Provider", "World", "token"]


def token(
    text: str = "access", *, refresh: str | None = "r0", ends: float | None = None
) -> OAuthToken:
    """Give a token that ends at *ends*."""
    return OAuthToken(
        access_token=Secret(text),
        refresh_token=Secret(refresh) if refresh else None,
        expires_at=ends,
        scopes={"read"},
    )


class Provider:
    """An authorization server: a refresh token works once, a second use ends the grant."""

    def __init__(self, clock: MovedClock) -> None:
        self._clock = clock
        self.current = "r0"
        self.refreshed = 0
        self.revoked: list[str] = []
        self.accepts = True
        self.trouble: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.reached = asyncio.Event()
        self.rotates = True

    async def refresh(self, old: OAuthToken) -> OAuthToken:
        self.reached.set()
        await asyncio.sleep(0)
        if self.gate is not None:
            await self.gate.wait()
        if self.trouble is not None:
            raise self.trouble
        if old.refresh_token is None or old.refresh_token.reveal() != self.current:
            self.current = "ended"
            raise VaultNotConnectedError("invalid_grant")
        self.refreshed += 1
        if self.rotates:
            self.current = f"r{self.refreshed}"
        return token(
            f"access-{self.refreshed}",
            refresh=self.current if self.rotates else None,
            ends=self._clock.now() + 3600,
        )

    async def verify(self, given: OAuthToken) -> bool:
        if self.trouble is not None:
            raise self.trouble
        return self.accepts

    async def revoke(self, given: OAuthToken) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.revoked.append(given.access_token.reveal())


class World:
    """One deployment: a master, a clock, a provider, and as many vaults as processes."""

    def __init__(self) -> None:
        self.clock = MovedClock()
        self.master = LocalMasterKey(new_master_key())
        self.provider = Provider(self.clock)

    def connector(self, **changes: Any) -> Connector:
        asked = self.provider
        settings: dict[str, Any] = {
            "provider": "google",
            "refresh": asked.refresh,
            "verify": asked.verify,
            "revoke": asked.revoke,
            "timeout": 5.0,
        }
        return Connector(**{**settings, **changes})

    def vault(self, store: VaultStore, **changes: Any) -> TokenVault:
        """Give a vault as a fresh process would build it."""
        settings: dict[str, Any] = {
            "store": store,
            "keys": KeyRing(self.master, clock=self.clock),
            "connectors": [self.connector()],
            "clock": self.clock,
        }
        return TokenVault(**{**settings, **changes})

    def expired(self) -> OAuthToken:
        """Give a token that ended a second ago."""
        return token("access-0", ends=self.clock.now() - 1)
