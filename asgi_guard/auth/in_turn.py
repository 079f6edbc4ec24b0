"""InTurn: several authenticators as one."""

from __future__ import annotations

from collections.abc import Iterable

from asgi_guard.auth.challenges import challenges_of
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Authenticator, Principal, Scope

__all__ = ["InTurn"]


class InTurn:
    """Ask *authenticators* in order; the first that finds its kind of credential decides.

    Args:
        authenticators: At least one.

    Raises:
        ConfigError: There is none, or one has no ``authenticate``.
    """

    def __init__(self, authenticators: Iterable[Authenticator]) -> None:
        self._authenticators = tuple(authenticators)
        for each in self._authenticators or (None,):
            if isinstance(each, type) or not isinstance(each, Authenticator):
                raise ConfigError(
                    "authenticators", f"{each!r} has no authenticate(scope)", "Pass an instance."
                )
        self.challenges = tuple(
            challenge for each in self._authenticators for challenge in challenges_of(each)
        )
        self.reads_cookies = any(
            getattr(each, "reads_cookies", False) for each in self._authenticators
        )

    async def authenticate(self, scope: Scope) -> Principal | None:
        """Return what the first of them finds; None if none finds its credential."""
        for each in self._authenticators:
            principal = await each.authenticate(scope)
            if principal is not None:
                return principal
        return None
