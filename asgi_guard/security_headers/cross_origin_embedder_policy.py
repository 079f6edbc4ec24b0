"""Cross-Origin-Embedder-Policy: load nothing that has not agreed to be loaded.

With ``same-origin`` as opener policy it isolates the page in a process of its own, which
``SharedArrayBuffer`` and precise timers need. Source: HTML Standard section 7.1.4.

Opt-in: every image, script and frame of another origin must then send CORP or CORS, or it breaks.
"""

from __future__ import annotations

from typing import Final

from asgi_guard.security_headers.fields import one_of

__all__ = ["NAME", "build"]

NAME: Final = "cross-origin-embedder-policy"


def build(value: str) -> str:
    """Return the header's value.

    Raises:
        ConfigError: Not one of the three policies.
    """
    return one_of(
        "security_headers.cross_origin_embedder_policy",
        value,
        ("require-corp", "credentialless", "unsafe-none"),
    )
