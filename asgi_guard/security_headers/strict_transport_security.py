"""Strict-Transport-Security: never again over plain HTTP.

Stops an attacker on the network from answering the first, unencrypted request of a returning
visitor. Source: RFC 6797.

A promise that cannot be taken back before ``max_age`` is over, least of all with ``preload``. It
is sent only when the request is known to have come over https (section 7.2), and, by default, only
in production: a browser that learns it for ``localhost`` or a test domain refuses them for months.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from asgi_guard.errors import ConfigError

__all__ = ["NAME", "StrictTransportSecurity"]

NAME: Final = "strict-transport-security"

_SETTING: Final = "security_headers.strict_transport_security"
_YEAR: Final = 31_536_000
_TWO_YEARS: Final = 63_072_000
_LONGEST: Final = 10 * _YEAR


@dataclass(frozen=True, slots=True, kw_only=True)
class StrictTransportSecurity:
    """How long browsers shall use https only.

    Args:
        max_age: Seconds, two years by default; 0 ends an earlier promise.
        include_subdomains: For all subdomains too, also those that other teams run.
        preload: Consent to the lists that are built into browsers (hstspreload.org); needs a year
            and subdomains, and takes months to undo.
        production_only: Send it only where the middleware's environment is ``"production"``.

    Raises:
        ConfigError: *max_age* is no number of seconds, or *preload* lacks what the lists ask for.
    """

    max_age: int = _TWO_YEARS
    include_subdomains: bool = True
    preload: bool = False
    production_only: bool = True

    def __post_init__(self) -> None:
        if type(self.max_age) is not int or not 0 <= self.max_age <= _LONGEST:
            raise ConfigError(
                f"{_SETTING}.max_age",
                f"{self.max_age!r} is no number of seconds up to ten years",
                f"Write {_TWO_YEARS} for two years.",
            )
        if self.preload and (self.max_age < _YEAR or not self.include_subdomains):
            raise ConfigError(
                f"{_SETTING}.preload",
                "the preload lists ask for max_age of a year and for subdomains",
                f"Use StrictTransportSecurity.preloaded(), or set max_age={_YEAR} and "
                "include_subdomains=True.",
            )

    @classmethod
    def preloaded(cls) -> StrictTransportSecurity:
        """Return one year with subdomains and ``preload``, for those who have registered."""
        return cls(max_age=_YEAR, preload=True)

    def value(self) -> str:
        """Return the header's value (RFC 6797 section 6.1)."""
        text = f"max-age={self.max_age}"
        if self.include_subdomains:
            text += "; includeSubDomains"
        return text + "; preload" if self.preload else text
