"""Referrer-Policy: how much of this page's address other sites learn.

Stops ids, search terms and tokens in a URL from travelling to whoever a page links to or loads
from. Source: W3C Referrer Policy, section 3 (the policies) and 4.1 (delivery by header).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Final

from asgi_guard.errors import ConfigError
from asgi_guard.security_headers.fields import SecurityHeadersWarning, one_of

__all__ = ["NAME", "build"]

NAME: Final = "referrer-policy"

_SETTING: Final = "security_headers.referrer_policy"
_POLICIES: Final = (
    "no-referrer",
    "no-referrer-when-downgrade",
    "origin",
    "origin-when-cross-origin",
    "same-origin",
    "strict-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
)
_LEAKS: Final = frozenset({"unsafe-url", "no-referrer-when-downgrade"})


def build(value: str | Sequence[str]) -> str:
    """Return the header's value.

    Args:
        value: One policy, or several, of which a browser takes the last that it knows.

    Raises:
        ConfigError: There is none, or one is unknown.

    Warns:
        SecurityHeadersWarning: The policy in effect sends full addresses to other sites.
    """
    policies = [one_of(_SETTING, each, _POLICIES) for each in _listed(value)]
    if not policies:
        raise ConfigError(_SETTING, "is an empty list", "Write 'no-referrer'.")
    if policies[-1] in _LEAKS:
        warnings.warn(
            f"{_SETTING}: {policies[-1]!r} sends full addresses, tokens in them included, to "
            "other sites.",
            SecurityHeadersWarning,
            stacklevel=2,
        )
    return ", ".join(policies)


def _listed(value: str | Sequence[str]) -> Sequence[str]:
    return [value] if isinstance(value, str) else value
