"""Every credential behind one throttle: what ``GuardSettings(throttle=...)`` means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgi_guard.auth.in_turn import InTurn
from asgi_guard.auth.throttled import ThrottledAuthenticator
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Authenticator

if TYPE_CHECKING:
    from asgi_guard.settings.model import GuardSettings

__all__ = ["check_throttle", "throttled_authenticators"]


def check_throttle(settings: GuardSettings) -> None:
    """Refuse a throttle that would count nothing, or twice.

    Raises:
        ConfigError: It is none, there is nothing for it to count, or an authenticator has one.
    """
    if settings.throttle is None:
        if settings.throttle_tenant_of is not None:
            raise ConfigError("throttle", "is missing, so nothing counts", "Pass Throttle().")
        return
    from asgi_guard.auth.throttle import Throttle  # noqa: PLC0415 - where it is used

    if not isinstance(settings.throttle, Throttle):
        raise ConfigError("throttle", f"is {settings.throttle!r}", "Pass Throttle(...).")
    if not settings.authenticators:
        raise ConfigError("throttle", "has no credentials to count", "Add authenticators.")
    if any(isinstance(each, ThrottledAuthenticator) for each in settings.authenticators):
        raise ConfigError(
            "throttle",
            "would count twice what a ThrottledAuthenticator counts",
            "Pass the authenticator that is inside of it.",
        )


def throttled_authenticators(settings: GuardSettings) -> tuple[Authenticator, ...]:
    """Return the authenticators of *settings*, behind its throttle if it has one.

    As one: a request is asked about once, however many kinds of credential there are.
    """
    if settings.throttle is None:
        return tuple(settings.authenticators)
    return (
        ThrottledAuthenticator(
            InTurn(settings.authenticators),
            throttle=settings.throttle,
            trusted_proxies=settings.trusted_proxies,
            tenant_of=settings.throttle_tenant_of,
        ),
    )
