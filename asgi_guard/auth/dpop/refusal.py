"""The one way in which a proof is refused."""

from __future__ import annotations

from typing import NoReturn

from asgi_guard.errors import DPoPProofError

__all__ = ["refuse"]


def refuse(reason: str) -> NoReturn:
    """Refuse a proof.

    Args:
        reason: Stable word for the operator's event; nothing of the proof.

    Raises:
        DPoPProofError: Always. Call it outside of any ``except`` block, so that no decoder's
            error, which quotes its input, hangs on it.
    """
    raise DPoPProofError(reason)
