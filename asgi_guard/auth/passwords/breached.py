"""The hook for lists of breached passwords (ASVS 5.0, 6.2.4 and 6.2.12)."""

from __future__ import annotations

import asyncio
from typing import Literal, Protocol, runtime_checkable

from asgi_guard.errors import ConfigError, PasswordRejectedError, UnavailableError
from asgi_guard.secret import Secret

__all__ = ["BreachCheck", "BreachedPasswords"]


@runtime_checkable
class BreachedPasswords(Protocol):
    """A list of passwords that guessers try first.

    If it asks a service over the network, send it a prefix of a hash (k-anonymity), never the
    password.
    """

    async def is_breached(self, password: Secret) -> bool:
        """Tell whether *password* is on the list. Any exception means that it cannot be said."""


class BreachCheck:
    """Ask *breached* about each new password.

    Args:
        breached: The list; None asks nobody.
        on_failure: ``"refuse"``: no answer, no new password (503). ``"accept"``: an outage of the
            list must not keep people from changing a password.
        timeout: Seconds for one answer.

    Raises:
        ConfigError: The list has no ``is_breached``, or a setting is out of range.
    """

    def __init__(
        self,
        breached: BreachedPasswords | None,
        *,
        on_failure: Literal["refuse", "accept"],
        timeout: float,
    ) -> None:
        if breached is not None and not isinstance(breached, BreachedPasswords):
            raise ConfigError("breached", "has no is_breached(password)", "Pass an instance.")
        if on_failure not in {"refuse", "accept"}:
            raise ConfigError("on_breach_failure", f"{on_failure!r}", "Pass 'refuse' or 'accept'.")
        if not timeout > 0:
            raise ConfigError("breach_timeout", f"is {timeout!r}", "Pass more than 0 seconds.")
        self._breached = breached
        self._accepts_doubt = on_failure == "accept"
        self._timeout = timeout

    async def check(self, password: Secret) -> None:
        """Refuse *password* if it is on the list.

        Raises:
            PasswordRejectedError: It is.
            UnavailableError: Nobody can say, and doubt refuses.
        """
        if self._breached is None:
            return
        answer: bool | None = None
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._breached.is_breached(password)
        except Exception:  # noqa: BLE001 - and its text may quote the password
            answer = None
        if answer is True:
            raise PasswordRejectedError("password_breached")
        if answer is not False and not self._accepts_doubt:
            raise UnavailableError("breach_list_unreachable")
