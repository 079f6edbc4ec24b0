"""The trace a request belongs to (W3C Trace Context, section 3.2)."""

from __future__ import annotations

import re
from typing import Final

from asgi_guard._internal.tracing import current_trace_id
from asgi_guard.protocols import Scope

__all__ = ["trace_id_of"]

# version "-" trace-id "-" parent-id "-" flags; only a later version may go on after the flags.
_TRACEPARENT: Final = re.compile(
    rb"(?P<version>(?!ff)[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})"
    rb"-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<more>-.*)?",
    re.DOTALL,
)


def trace_id_of(scope: Scope) -> str | None:
    """Return the current trace's id, or that of a well-formed ``traceparent`` sent once, or None.

    The header comes from outside and is believed for correlation only.
    """
    current = current_trace_id()
    if current is not None:
        return current
    found: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"traceparent":
            if found is not None:
                return None
            found = value
    if found is None or (match := _TRACEPARENT.fullmatch(found)) is None:
        return None
    if match["version"] == b"00" and match["more"] is not None:
        return None
    return match["trace"].decode("ascii")
