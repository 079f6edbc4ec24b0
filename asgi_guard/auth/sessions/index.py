"""Which sessions a user has in a tenant: one bounded entry, changed by compare-and-set.

For lists and for the limit alone. Whether a session is alive is never read from here.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import sha256
from typing import Final

from asgi_guard.auth.sessions.identifiers import is_session_id
from asgi_guard.errors import UnavailableError
from asgi_guard.protocols import KeyValueStore

__all__ = ["SessionIndex"]

_TRIES: Final = 100
_MARGIN: Final = 3600.0

Owner = tuple[str, str | None]
"""User and tenant."""
Alive = Callable[[list[str]], Awaitable[set[str]]]


class SessionIndex:
    """The lists of one store, oldest session first.

    Args:
        store: Where they are kept.
        lifetime: Seconds of the longest session.
        most: How many sessions a user may have in a tenant.
    """

    def __init__(self, store: KeyValueStore, *, lifetime: float, most: int) -> None:
        self._store = store
        self._ttl = lifetime + _MARGIN
        self._most = most

    async def listed(self, owner: Owner) -> list[str]:
        """Return the session ids on the list, some of which may have ended."""
        return _decode(await self._store.get(_key(owner)))

    async def add(
        self, session_id: str, owner: Owner, *, alive: Alive, replacing: str | None = None
    ) -> list[str]:
        """Put a session that is about to be made on the list; return those it has no room for.

        Args:
            session_id: The new one.
            owner: Whose, and in which tenant.
            alive: Tells which ids of a full list still live; the others make room first.
            replacing: Whose place it takes; that one stays on the list, and is not counted.

        Raises:
            UnavailableError: Others kept changing the list.
        """
        for _ in range(_TRIES):
            raw = await self._store.get(_key(owner))
            listed = _decode(raw)
            if len(listed) >= self._most:
                living = await alive(listed)
                listed = [each for each in listed if each in living]
            counted = [each for each in listed if each != replacing]
            pushed_out = counted[: max(0, len(counted) + 1 - self._most)]
            kept = [*(each for each in listed if each not in pushed_out), session_id]
            if await self._write(_key(owner), raw, kept):
                return pushed_out
        raise UnavailableError("session_list_contended")

    async def remove(self, session_id: str, owner: Owner) -> None:
        """Take a session off the list.

        Raises:
            UnavailableError: Others kept changing the list.
        """
        key = _key(owner)
        for _ in range(_TRIES):
            raw = await self._store.get(key)
            listed = _decode(raw)
            if session_id not in listed:
                return
            if await self._write(key, raw, [each for each in listed if each != session_id]):
                return
        raise UnavailableError("session_list_contended")

    async def _write(self, key: str, seen: bytes | None, listed: list[str]) -> bool:
        fresh = json.dumps(listed).encode()
        if seen is None:
            return await self._store.put_if_absent(key, fresh, ttl=self._ttl)
        return await self._store.replace(key, seen, fresh, ttl=self._ttl)


def _key(owner: Owner) -> str:
    return f"session-list:{sha256(json.dumps(owner).encode()).hexdigest()}"


def _decode(raw: bytes | None) -> list[str]:
    if raw is None:
        return []
    listed: object = None
    with suppress(ValueError):
        listed = json.loads(raw)
    if not isinstance(listed, list) or not all(is_session_id(each) for each in listed):
        raise UnavailableError("session_list_malformed")
    return listed
