"""The ways in which a login is refused."""

from __future__ import annotations

from typing import NoReturn

from asgi_guard.errors import LoginRefusedError, UnavailableError

__all__ = ["refuse", "unavailable"]


def refuse(reason: str) -> NoReturn:
    """Refuse a login or logout.

    Args:
        reason: Stable word for the operator's event; nothing that somebody sent.

    Raises:
        LoginRefusedError: Always. Call it outside of any ``except`` block, so that no error that
            quotes its input hangs on it.
    """
    raise LoginRefusedError(reason)


def unavailable(reason: str) -> NoReturn:
    """Say that the provider, or what else is needed, does not answer.

    Args:
        reason: Stable word for the operator's event.

    Raises:
        UnavailableError: Always; call it outside of any ``except`` block.
    """
    raise UnavailableError(reason)
