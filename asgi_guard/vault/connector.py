"""Connector: what an app knows about one third party, as up to three functions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from asgi_guard.errors import ConfigError, VaultNotConnectedError
from asgi_guard.vault.slot import check_provider
from asgi_guard.vault.token import OAuthToken

__all__ = ["Connector", "Outcome", "connectors_by_name"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """How to talk to one provider about its tokens.

    Args:
        provider: Its name, e.g. ``"google"``.
        refresh: Exchanges the old token for a new one (RFC 6749 section 6). Raises
            `VaultNotConnectedError` when the provider says that the grant is gone
            (``invalid_grant``); any other exception means that it may work later.
        verify: Asks the provider whether it accepts the token.
        revoke: Tells the provider that the token is no longer wanted (RFC 7009).
        timeout: Seconds that each call may take. A refresh that is cut off may have used up the
            refresh token: leave it room.

    Raises:
        ConfigError: A bad name, or no time.
    """

    provider: str
    refresh: Callable[[OAuthToken], Awaitable[OAuthToken]] | None = None
    verify: Callable[[OAuthToken], Awaitable[bool]] | None = None
    revoke: Callable[[OAuthToken], Awaitable[object]] | None = None
    timeout: float = 15.0

    def __post_init__(self) -> None:
        """Refuse what could never be called."""
        check_provider(self.provider)
        if not self.timeout > 0:
            raise ConfigError("Connector.timeout", f"is {self.timeout!r}", "Pass more than 0.")

    async def ask(
        self, call: Callable[[OAuthToken], Awaitable[T]], token: OAuthToken
    ) -> Outcome[T]:
        """Call the provider; its exceptions, which may quote the token, go no further."""
        try:
            async with asyncio.timeout(self.timeout):
                return Outcome(value=await call(token))
        except VaultNotConnectedError:
            return Outcome(failure="grant_gone", is_final=True)
        except TimeoutError:
            return Outcome(failure="timeout")
        except Exception as error:  # noqa: BLE001 - whatever the app's HTTP client raises
            return Outcome(failure=type(error).__name__)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What came of a call.

    Args:
        value: The answer, if there was one.
        failure: Class of the exception instead; empty when there was an answer.
        is_final: The provider said that the grant is gone; asking again does not help.
    """

    value: T | None = field(default=None, repr=False)
    failure: str = ""
    is_final: bool = False


def connectors_by_name(connectors: Iterable[Connector]) -> dict[str, Connector]:
    """Index *connectors* by provider.

    Raises:
        ConfigError: One is none, or two have one name.
    """
    found: dict[str, Connector] = {}
    for connector in connectors:
        if not isinstance(connector, Connector):
            raise ConfigError(
                "TokenVault.connectors", f"holds a {type(connector).__name__}", "Pass Connectors."
            )
        if connector.provider in found:
            raise ConfigError(
                "TokenVault.connectors", f"has {connector.provider!r} twice", "Name each once."
            )
        found[connector.provider] = connector
    return found
