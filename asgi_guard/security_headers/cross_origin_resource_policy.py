"""Cross-Origin-Resource-Policy: who may load this response without asking by CORS.

Stops other sites from pulling an answer into their process as an image, script or style, where
Spectre or a side channel reads it. Source: Fetch Standard section 3.7.

``same-origin`` also stops images and downloads that other sites embed on purpose; give those
routes ``cross-origin``.
"""

from __future__ import annotations

from typing import Final

from asgi_guard.security_headers.fields import one_of

__all__ = ["NAME", "build"]

NAME: Final = "cross-origin-resource-policy"


def build(value: str) -> str:
    """Return the header's value.

    Raises:
        ConfigError: Not one of the three policies.
    """
    return one_of(
        "security_headers.cross_origin_resource_policy",
        value,
        ("same-origin", "same-site", "cross-origin"),
    )
