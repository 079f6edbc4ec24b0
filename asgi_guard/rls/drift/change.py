"""One change: what is not as described, and the SQL there and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["HELPERS", "Change"]

HELPERS: Final = "roles and helper functions"
"""What a change is about that is about no table."""


@dataclass(frozen=True, slots=True)
class Change:
    """What must be done to one object.

    Args:
        action: ``create`` where there was nothing of ours, ``alter``, or ``drop`` before the table
            goes.
        object: The table or view, or `HELPERS`.
        departs: What is not as described, in words.
        upgrade: The statements there.
        downgrade: The statements back; they leave no table open. Empty: it stays as it is.
    """

    action: Literal["create", "alter", "drop"]
    object: str
    departs: tuple[str, ...]
    upgrade: tuple[str, ...]
    downgrade: tuple[str, ...]
