"""A user table in a dict, a hasher that is cheap, and an ear on the library that hashes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from argon2 import low_level

from asgi_guard.auth.passwords import Argon2Parameters, PasswordHasher
from asgi_guard.observability import subscribe
from tests.support.exchange import Events

__all__ = ["CHEAP", "GOOD", "Table", "cheap_hasher", "listening", "spied_argon2"]

CHEAP = Argon2Parameters(memory_cost=16, time_cost=1, insecure_cheap=True)
GOOD = "correct horse battery staple"


def cheap_hasher(**changes: Any) -> PasswordHasher:
    """Build a hasher whose cost is not the point."""
    return PasswordHasher(**{"profile": CHEAP, "workers": 1, **changes})


class Table:
    """One user's row, with the update that a SQL database would do."""

    def __init__(self, stored: str) -> None:
        self.stored = stored
        self.replaced: list[tuple[str, str]] = []

    async def replace(self, old: str, new: str) -> bool:
        if self.stored != old:
            return False
        self.stored = new
        self.replaced.append((old, new))
        return True


@contextmanager
def listening() -> Iterator[Events]:
    """Collect the security events of a block."""
    sink = Events()
    unsubscribe = subscribe(sink)
    try:
        yield sink
    finally:
        unsubscribe()


def spied_argon2(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the list that each Argon2 computation's parameters are added to; it still runs."""
    seen: list[dict[str, Any]] = []
    real = low_level.hash_secret_raw

    def spy(secret: bytes, salt: bytes, **costs: Any) -> bytes:
        seen.append({**costs, "salt_len": len(salt)})
        return real(secret, salt, **costs)

    monkeypatch.setattr(low_level, "hash_secret_raw", spy)
    return seen
