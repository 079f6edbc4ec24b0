"""Refresh tokens on a store, a clock and events that tests look at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth.jose import TokenIssuer, TokenRevocations, TokenVerifier
from asgi_guard.auth.refresh import RefreshGrant, RefreshTokens
from asgi_guard.errors import RefreshRefusedError
from asgi_guard.protocols import KeyValueStore
from tests.support.exchange import Events
from tests.support.jose_tokens import Signer, policy, signing_key, verifier
from tests.support.tenancy_world import MovedClock

__all__ = ["DAY", "POLICY", "InterruptedStore", "World", "refused"]

DAY = 86_400
POLICY = policy(types=("access", "refresh"), algorithms=("ES256",))


class World:
    """One process of an authorization server; `another` starts one more on the same store."""

    def __init__(
        self, store: KeyValueStore | None = None, clock: MovedClock | None = None, **options: Any
    ) -> None:
        self.clock = clock or MovedClock()
        self.store = store or MemoryStore(clock=self.clock)
        self.issuer = TokenIssuer(POLICY, keys=Signer(signing_key(), 40 * DAY), clock=self.clock)
        self.access = TokenRevocations(self.store, policy=POLICY, clock=self.clock)
        self.judge: TokenVerifier = verifier(
            policy=POLICY, clock=self.clock, revocations=self.access
        )
        self.tokens = RefreshTokens(
            self.store,
            issuer=self.issuer,
            verifier=verifier(policy=POLICY, clock=self.clock),
            access=self.access,
            clock=self.clock,
            **options,
        )

    def another(self, **options: Any) -> World:
        return World(self.store, self.clock, **options)

    async def login(self, **changes: Any) -> RefreshGrant:
        settings: dict[str, Any] = {
            "client_id": "web",
            "tenant_id": "acme",
            "session_id": "s-1",
            "scopes": ("notes:read", "notes:write"),
        }
        return await self.tokens.start("alice", **{**settings, **changes})

    async def refresh(self, grant: RefreshGrant, **changes: Any) -> RefreshGrant:
        settings: dict[str, Any] = {"client_id": "web", **changes}
        return await self.tokens.refresh(grant.token.token.reveal(), **settings)

    async def access_token(self, grant: RefreshGrant) -> str:
        """Issue what a token endpoint would: an access token that ends with its family."""
        issued = await self.issuer.issue_access(
            grant.subject,
            client_id=grant.client_id,
            session_id=grant.session_id,
            claims={"fam": grant.family},
        )
        return issued.token.reveal()


class InterruptedStore(MemoryStore):
    """A store in which *meanwhile* happens once between a refresh's look and its write."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        found = await super().get_many(keys)
        happening, self.meanwhile = self.meanwhile, None
        if happening is not None:
            await happening()
        return found


async def refused(attempt: Awaitable[object], events: Events) -> str:
    """Await what must be refused; return why, as the one event of it says."""
    before = len(events.seen)
    with pytest.raises(RefreshRefusedError) as caught:
        await attempt
    (event,) = events.seen[before:]
    assert event.outcome == "denied"
    assert event.reason == caught.value.reason
    assert caught.value.__cause__ is None
    return str(event.reason)
