"""Refreshing an expired token once, whoever waits for it, here and in other processes.

A provider that rotates refresh tokens takes a second use of one for theft and ends the whole
grant (RFC 9700 section 4.14.2). So one task asks, under a lock that other processes see, and
stores the answer before anyone gets it. The task belongs to no caller: one that goes away does
not cut off an exchange that has begun.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from asgi_guard.errors import (
    VaultNotConnectedError,
    VaultRefreshError,
    VaultUnavailableError,
)
from asgi_guard.protocols import Clock
from asgi_guard.tenancy.bounded import BoundedEntries
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import use_context
from asgi_guard.tenancy.reporting import report
from asgi_guard.vault.connector import Connector
from asgi_guard.vault.records import Entry, Status, VaultStore
from asgi_guard.vault.safe import Safe
from asgi_guard.vault.slot import Slot
from asgi_guard.vault.token import OAuthToken, decode_token, encode_token

__all__ = ["Refresher"]

_REMEMBERED_FAILURES: Final = 1024
_MARGIN: Final = 15.0  # seconds to read before, and to store after, the provider was asked
_STORE_AGAIN_AFTER: Final = (0.05, 0.25, 1.0)


@dataclass(slots=True)
class _Exchange:
    """One refresh on its way: what was stored before it, and what the provider gave."""

    entry: Entry
    new: OAuthToken | None = None
    saved: bool = False


class Refresher:
    """Exchanges expired tokens, one flight per slot.

    Args:
        store: Where they are kept.
        safe: Opens and seals them.
        clock: Where "now" comes from.
        early: Seconds before its end at which a token counts as expired.
        retry_after: Seconds after a failure in which the provider is not asked again.
        wait: Seconds to wait for another process that refreshes the same token.
    """

    def __init__(
        self,
        store: VaultStore,
        safe: Safe,
        *,
        clock: Clock,
        early: float,
        retry_after: float,
        wait: float,
    ) -> None:
        self._store = store
        self._safe = safe
        self._clock = clock
        self._early = early
        self._wait = wait
        self._flights: dict[Slot, asyncio.Task[OAuthToken]] = {}
        self._failed: BoundedEntries[Slot, str] = BoundedEntries(_REMEMBERED_FAILURES, retry_after)

    async def refreshed(self, slot: Slot, connector: Connector) -> OAuthToken:
        """Return the token that follows the expired one of *slot*.

        Raises:
            VaultNotConnectedError: The provider ended the grant, or it was revoked meanwhile.
            VaultRefreshError: It did not work; what was stored is still stored.
            VaultOpenError: What is stored there now does not belong there.
        """
        failed = self._failed.current(slot, self._clock.monotonic())
        if failed is not None:
            raise VaultRefreshError(failed[1])
        flight = self._flights.get(slot)
        if flight is None or flight.get_loop() is not asyncio.get_running_loop():
            flight = asyncio.create_task(self._fly(slot, connector))
            self._flights[slot] = flight
            flight.add_done_callback(lambda done: self._landed(slot, done))
        return await asyncio.shield(flight)

    def forget(self, slot: Slot) -> None:
        """Let the provider be asked again: the user has reconnected."""
        self._failed.drop(lambda failed: failed == slot)

    def _landed(self, slot: Slot, flight: asyncio.Task[OAuthToken]) -> None:
        if self._flights.get(slot) is flight:
            del self._flights[slot]
        if not flight.cancelled():
            flight.exception()  # every waiter may have gone away; nobody need be told again

    async def _fly(self, slot: Slot, connector: Connector) -> OAuthToken:
        # Its own context: what the provider has issued is stored even if the first caller's
        # credential ends meanwhile.
        context = UserExecutionContext(
            tenant_id=slot.tenant_id,
            user_id=slot.user_id or "tenant",
            operation="vault.refresh",
            auth_method="internal",
        )
        with use_context(context):
            try:
                return await self._exchange(slot, connector)
            except VaultRefreshError as failure:
                self._failed.keep(slot, failure.reason, self._clock.monotonic())
                _report(slot, "VAULT_REFRESH_FAILED", failure.reason)
                raise

    async def _exchange(self, slot: Slot, connector: Connector) -> OAuthToken:
        exchange: _Exchange | None = None
        trouble = ""
        try:
            async with asyncio.timeout(self._wait + connector.timeout):
                async with self._store.exclusive(slot, hold=connector.timeout + _MARGIN) as held:
                    exchange = _Exchange(await self._safe.entry(held, slot))
                    _refuse_broken(exchange.entry)
                    old = decode_token(await self._safe.open(slot, exchange.entry))
                    if not old.expires_within(self._early, now=self._clock.now()):
                        return old  # another process was faster
                    await self._ask(held, slot, connector, old, exchange)
        except TimeoutError:
            trouble = "busy"
        except VaultUnavailableError as away:
            trouble = away.reason
        if exchange is None or (trouble and exchange.new is None):
            raise VaultRefreshError(trouble)
        if exchange.new is None:
            raise VaultNotConnectedError("reconnect_required")
        return await self._kept(slot, connector, exchange, must_store=bool(trouble))

    async def _ask(
        self,
        held: VaultStore,
        slot: Slot,
        connector: Connector,
        old: OAuthToken,
        exchange: _Exchange,
    ) -> None:
        if connector.refresh is None or old.refresh_token is None:
            raise VaultNotConnectedError("expired")
        outcome = await connector.ask(connector.refresh, old)
        version = exchange.entry.version
        if outcome.is_final:
            await held.set_status(slot, expected=version, status=Status.BROKEN)
            _report(slot, "VAULT_REFRESH_FAILED", "grant_gone")
            return
        if not isinstance(outcome.value, OAuthToken):
            raise VaultRefreshError(outcome.failure or "no_token")
        exchange.new = outcome.value.keeping_refresh_of(old)
        exchange.saved = await self._save(held, slot, exchange)

    async def _kept(
        self, slot: Slot, connector: Connector, exchange: _Exchange, *, must_store: bool
    ) -> OAuthToken:
        """Make sure that what the provider gave is stored, or that something newer is."""
        new = exchange.new
        if new is None:
            raise VaultRefreshError("no_token")
        if must_store:
            exchange.saved = await self._store_again(slot, exchange)
        if exchange.saved:
            _report(slot, "VAULT_REFRESHED", "")
            if new.expires_within(self._early, now=self._clock.now()):
                # Tokens that live shorter than *early* would be exchanged on each look.
                self._failed.keep(slot, "just_refreshed", self._clock.monotonic())
            return new
        return await self._overtaken(slot, connector, new)

    async def _store_again(self, slot: Slot, exchange: _Exchange) -> bool:
        # The old refresh token may be used up: what is not stored now is lost for good.
        for pause in _STORE_AGAIN_AFTER:
            await asyncio.sleep(pause)
            try:
                return await self._save(self._store, slot, exchange)
            except VaultUnavailableError:
                continue
        raise VaultRefreshError("not_stored")

    async def _overtaken(self, slot: Slot, connector: Connector, new: OAuthToken) -> OAuthToken:
        entry = await self._safe.entry(self._store, slot)
        revoked = entry.head is not None and entry.head.status is Status.REVOKED
        if revoked and connector.revoke is not None:
            # Ours must not live on at the provider, unknown to all. After a reconnect it is left
            # alone: some providers would end the whole grant, and with it the newer token.
            await connector.ask(connector.revoke, new)
        return decode_token(await self._safe.open(slot, entry))

    async def _save(self, store: VaultStore, slot: Slot, exchange: _Exchange) -> bool:
        if exchange.new is None:
            return False
        status = exchange.entry.head.status if exchange.entry.head else Status.CONNECTED
        plaintext = encode_token(exchange.new)
        return await self._safe.write(store, slot, plaintext, entry=exchange.entry, status=status)


def _refuse_broken(entry: Entry) -> None:
    if entry.head is not None and entry.head.status is Status.BROKEN:
        raise VaultNotConnectedError("reconnect_required")


def _report(slot: Slot, name: str, reason: str) -> None:
    outcome = "error" if reason else "allowed"
    report(name, outcome=outcome, reason=reason, details={"provider": slot.provider})
