"""X-XSS-Protection: switch off the script filter of browsers that still have one.

The filter could be made to remove chosen scripts of a page and to leak its content, so browsers
dropped it, and ``0`` keeps it off in those that have not. Source: OWASP HTTP Headers Cheat Sheet,
"X-XSS-Protection". A Content-Security-Policy does what this header promised.
"""

from __future__ import annotations

import warnings
from typing import Final

from asgi_guard.security_headers.fields import SecurityHeadersWarning, one_of

__all__ = ["NAME", "build"]

NAME: Final = "x-xss-protection"

_SETTING: Final = "security_headers.xss_protection"


def build(value: str = "0") -> str:
    """Return ``0``, or ``1; mode=block`` for ``"legacy-block"``.

    Raises:
        ConfigError: Another value was given.

    Warns:
        SecurityHeadersWarning: For ``"legacy-block"``, which only a checklist can want.
    """
    if one_of(_SETTING, value, ("0", "legacy-block")) == "0":
        return "0"
    warnings.warn(
        f"{_SETTING}: 'legacy-block' turns on a filter that attackers can steer, in the few "
        "browsers that have it. '0' is the safe value.",
        SecurityHeadersWarning,
        stacklevel=2,
    )
    return "1; mode=block"
