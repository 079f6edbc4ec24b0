"""X-Frame-Options: who may show this page in a frame.

Stops clickjacking in browsers that do not read ``frame-ancestors`` (CSP Level 3 section 6.4.2);
those that do ignore this header when that directive is there. Source: RFC 7034, HTML Standard
section 7.6.
"""

from __future__ import annotations

from typing import Final

from asgi_guard.errors import ConfigError
from asgi_guard.security_headers.fields import one_of

__all__ = ["NAME", "build"]

NAME: Final = "x-frame-options"

_SETTING: Final = "security_headers.x_frame_options"


def build(value: str) -> str:
    """Return ``DENY`` or ``SAMEORIGIN``.

    Raises:
        ConfigError: Another value, or ``ALLOW-FROM``, which browsers ignore with the whole header,
            so that anybody may frame the page.
    """
    if isinstance(value, str) and value.upper().startswith("ALLOW-FROM"):
        raise ConfigError(
            _SETTING,
            f"{value!r} is ignored by browsers, which then let everybody frame the page",
            "Set the CSP directive frame-ancestors to that origin, and DENY here.",
        )
    return one_of(_SETTING, value, ("DENY", "SAMEORIGIN"))
