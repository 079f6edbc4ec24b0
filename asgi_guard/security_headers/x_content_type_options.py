"""X-Content-Type-Options: take the declared content type at its word.

Stops a browser from sniffing an upload or a JSON answer into a script or a page. It also arms
Chromium's cross-origin read blocking. Source: Fetch Standard, "X-Content-Type-Options header".

Does not help where the declared type is wrong: a script served as ``text/plain`` stops working.
"""

from __future__ import annotations

from typing import Final

from asgi_guard.security_headers.fields import one_of

__all__ = ["NAME", "build"]

NAME: Final = "x-content-type-options"


def build(value: str = "nosniff") -> str:
    """Return the header's value; ``nosniff`` is the only one there is.

    Raises:
        ConfigError: Another value was given.
    """
    return one_of("security_headers.x_content_type_options", value, ("nosniff",))
