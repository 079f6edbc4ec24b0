"""Cross-Origin-Opener-Policy: keep windows of other sites out of this page's browsing context.

Stops a page that opened this one, or was opened by it, from steering it, counting its frames and
sharing its process (XS-Leaks, Spectre). Source: HTML Standard section 7.1.3.

``same-origin`` breaks sign-in by popup; ``same-origin-allow-popups`` leaves popups that this page
opens itself.
"""

from __future__ import annotations

from typing import Final

from asgi_guard.security_headers.fields import one_of

__all__ = ["NAME", "build"]

NAME: Final = "cross-origin-opener-policy"


def build(value: str) -> str:
    """Return the header's value.

    Raises:
        ConfigError: Not one of the four policies.
    """
    return one_of(
        "security_headers.cross_origin_opener_policy",
        value,
        ("same-origin", "same-origin-allow-popups", "noopener-allow-popups", "unsafe-none"),
    )
