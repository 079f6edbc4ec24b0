"""When an envelope ends: after its job should have, and never after the job that sent it."""

from __future__ import annotations

import math
from typing import Final

from asgi_guard.errors import ConfigError
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.envelope_proof import AUTH_METHOD

__all__ = ["Lifetimes"]

_LONGEST: Final = 30 * 86400


class Lifetimes:
    """The rules of one app.

    Args:
        lifetime: Seconds from when a job is due until it must have ended.
        max_delay: Seconds for which a job may be put off when it is sent.

    Raises:
        ConfigError: A number is out of range.
    """

    __slots__ = ("_lifetime", "_max_delay")

    def __init__(self, lifetime: float, max_delay: float) -> None:
        _check("lifetime", lifetime, least=1)
        _check("max_delay", max_delay, least=0)
        self._lifetime = lifetime
        self._max_delay = max_delay

    def end(
        self, context: UserExecutionContext, now: float, delay: float, lifetime: float | None
    ) -> int:
        """Return when the envelope of a job ends, in Unix seconds.

        Args:
            context: The sender's.
            now: Unix seconds.
            delay: Seconds until the job is due.
            lifetime: Instead of the general one.

        Raises:
            ConfigError: *delay* or *lifetime* is out of range, or the sender is a job that will
                have ended before this one is due.
        """
        if not 0 <= delay <= self._max_delay:
            raise ConfigError(
                "ContextEnvelope.seal(delay)",
                f"is {delay} seconds, and at most {self._max_delay} are allowed",
                "Raise ContextEnvelope(max_delay=...), or let a system job send it later.",
            )
        if lifetime is not None:
            _check("seal(lifetime)", lifetime, least=1)
        end = now + delay + (self._lifetime if lifetime is None else lifetime)
        if context.auth_method == AUTH_METHOD and context.expires_at is not None:
            # Else a job that sends itself again would act for its user for ever.
            end = min(end, context.expires_at)
            if end <= now + delay:
                raise ConfigError(
                    "ContextEnvelope.seal(delay)",
                    "puts the job off until after the end of the job that sends it",
                    "Give the first one a longer lifetime.",
                )
        return math.floor(end)


def _check(name: str, value: float, *, least: float) -> None:
    if not least <= value <= _LONGEST:  # so that NaN is refused too
        raise ConfigError(
            f"ContextEnvelope.{name}", f"is {value}", f"Pass {least} to {_LONGEST} seconds."
        )
