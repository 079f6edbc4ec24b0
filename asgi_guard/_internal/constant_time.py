"""The only place that compares secrets, in time that does not depend on where they differ."""

from __future__ import annotations

import hmac

__all__ = ["equal"]


def equal(left: bytes, right: bytes) -> bool:
    """Tell whether two byte strings are the same.

    The time depends on their lengths alone (CWE-208), so compare values whose length is no
    secret: digests, MACs, keys of one format.
    """
    return hmac.compare_digest(left, right)
