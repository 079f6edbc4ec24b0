"""TokenVault: other services' tokens and secrets, for the user whom the code runs for."""

from __future__ import annotations

from collections.abc import Iterable

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.errors import (
    ConfigError,
    VaultConflictError,
    VaultNotConnectedError,
    VaultOpenError,
    VaultRefreshError,
)
from asgi_guard.protocols import Clock
from asgi_guard.vault.connector import Connector, connectors_by_name
from asgi_guard.vault.drawer import SecretDrawer, is_live, report_about
from asgi_guard.vault.keyring import KeyRing
from asgi_guard.vault.records import Entry, Status, VaultStore
from asgi_guard.vault.refresh import Refresher
from asgi_guard.vault.slot import Slot, check_provider
from asgi_guard.vault.token import OAuthToken, decode_token, encode_token

__all__ = ["TokenVault"]


class TokenVault(SecretDrawer):
    """Keeps tokens sealed for one tenant, one user and one provider.

    Every operation works for the user of the current context; none takes a tenant or user as an
    argument, so there is no way to ask for another's.

    Args:
        store: Where sealed secrets are kept.
        keys: The master keys.
        connectors: What the app knows about its providers; one that only stores tokens needs
            none.
        early: Seconds before its end at which a token is refreshed.
        retry_after: Seconds after a failed refresh in which the provider is left alone; after a
            good one as well if the new token lives shorter than *early*.
        wait: Seconds to wait for another process that refreshes the same token.
        clock: Where "now" comes from.

    Raises:
        ConfigError: An argument is of the wrong kind, or two connectors have one name.
    """

    def __init__(
        self,
        *,
        store: VaultStore,
        keys: KeyRing,
        connectors: Iterable[Connector] = (),
        early: float = 60.0,
        retry_after: float = 5.0,
        wait: float = 30.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(store=store, keys=keys, clock=clock)
        self._early = early
        self._connectors = connectors_by_name(connectors)
        self._refresher = Refresher(
            store, self._safe, clock=clock, early=early, retry_after=retry_after, wait=wait
        )

    async def connect(self, provider: str, token: OAuthToken) -> None:
        """Store the first token that *provider* gave for the user.

        Raises:
            VaultConflictError: There is one already; `reconnect` replaces it.
            VaultOpenError: The tenant is shredded.
            VaultUnavailableError: The store or the master key's service does not answer.
        """
        slot = self._slot(check_provider(provider), "vault.connect")
        await self._put(slot, encode_token(token), check=_refuse_second)
        report_about(slot, "VAULT_CONNECTED")

    async def reconnect(self, provider: str, token: OAuthToken) -> None:
        """Replace the token of *provider* after the user has granted access anew.

        Raises:
            VaultNotConnectedError: The user has never connected it.
            VaultConflictError: Others kept changing it.
            VaultOpenError: The tenant is shredded.
            VaultUnavailableError: The store or the master key's service does not answer.
        """
        slot = self._slot(check_provider(provider), "vault.reconnect")
        await self._put(slot, encode_token(token), check=_refuse_first)
        self._refresher.forget(slot)
        report_about(slot, "VAULT_RECONNECTED")

    async def get(self, provider: str) -> OAuthToken:
        """Return the user's token for *provider*, refreshed if it has expired or is about to.

        However many ask at once, here and in other processes, the provider is asked once.

        Raises:
            VaultNotConnectedError: There is none, or only a reconnect helps; ``reason`` says.
            VaultRefreshError: It has expired and could not be refreshed now.
            VaultOpenError: What is stored is not what belongs there.
            VaultUnavailableError: The store or the master key's service does not answer.
        """
        slot = self._slot(check_provider(provider), "vault.get")
        entry = await self._safe.entry(self._store, slot)
        if entry.head is not None and entry.head.status is Status.BROKEN:
            raise VaultNotConnectedError("reconnect_required")
        token = decode_token(await self._safe.open(slot, entry))
        if token.expires_within(self._early, now=self._clock.now()):
            token = await self._fresh(slot, token)
        report_about(slot, "VAULT_OPENED")
        return token

    async def verify(self, provider: str) -> bool:
        """Ask *provider* whether it accepts the user's token, and note the answer.

        Returns:
            What it said. After a no, `get` asks for a reconnect.

        Raises:
            ConfigError: The connector cannot verify.
            VaultRefreshError: The provider does not answer; nothing was noted.
            VaultNotConnectedError: As `get`, as are further errors.
        """
        connector = self._connectors.get(check_provider(provider))
        if connector is None or connector.verify is None:
            raise ConfigError("Connector.verify", f"is not set for {provider!r}", "Pass it.")
        slot = self._slot(provider, "vault.verify")
        await self.get(provider)  # refreshes it first
        entry = await self._safe.entry(self._store, slot)
        token = decode_token(await self._safe.open(slot, entry))
        outcome = await connector.ask(connector.verify, token)
        if outcome.failure and not outcome.is_final:
            report_about(slot, "VAULT_VERIFIED", outcome="error", reason=outcome.failure)
            raise VaultRefreshError("verify_failed")
        accepted = outcome.value is True
        # If it was replaced meanwhile, the answer was about another token, and is not noted.
        status = Status.VERIFIED if accepted else Status.BROKEN
        await self._store.set_status(slot, expected=entry.version, status=status)
        report_about(slot, "VAULT_VERIFIED", outcome="allowed" if accepted else "denied")
        return accepted

    async def revoke(self, provider: str) -> bool:
        """Remove the user's token for *provider*, and tell the provider if the connector can.

        It is removed here whatever the provider says, also when it cannot be opened any more.

        Returns:
            Whether the provider confirmed; False as well if it was not asked.

        Raises:
            VaultNotConnectedError: There is none.
            VaultConflictError: Others kept changing it.
            VaultUnavailableError: The store does not answer.
        """
        slot = self._slot(check_provider(provider), "vault.revoke")
        confirmed = await self._revoke_there(slot)
        await self._remove(slot)
        report_about(slot, "VAULT_REVOKED", confirmed=confirmed)
        return confirmed

    async def status(self, provider: str) -> Status | None:
        """Tell what has become of the user's connection; None if there never was one.

        Raises:
            VaultUnavailableError: The store does not answer.
        """
        slot = self._slot(check_provider(provider), "vault.status")
        head = (await self._safe.entry(self._store, slot)).head
        return head.status if head else None

    async def _fresh(self, slot: Slot, token: OAuthToken) -> OAuthToken:
        connector = self._connectors.get(slot.provider)
        has_ended = token.expires_within(0, now=self._clock.now())
        if connector is None or connector.refresh is None or token.refresh_token is None:
            if has_ended:
                raise VaultNotConnectedError("expired")
            return token
        try:
            return await self._refresher.refreshed(slot, connector)
        except VaultRefreshError:
            if has_ended:
                raise
            return token  # still good for a while; the failure is in the events

    async def _revoke_there(self, slot: Slot) -> bool:
        connector = self._connectors.get(slot.provider)
        if connector is None or connector.revoke is None:
            return False
        try:
            entry = await self._safe.entry(self._store, slot)
            token = decode_token(await self._safe.open(slot, entry))
        except VaultOpenError:
            return False
        outcome = await connector.ask(connector.revoke, token)
        return not outcome.failure


def _refuse_second(entry: Entry) -> None:
    if is_live(entry):
        raise VaultConflictError("already_connected")


def _refuse_first(entry: Entry) -> None:
    if not entry.version:
        raise VaultNotConnectedError("never_connected")
