"""Families: the records of refresh families on a shared store, and what ends many at once."""

from __future__ import annotations

import secrets
from hashlib import sha256
from typing import NamedTuple

from asgi_guard.auth.refresh.family import Family
from asgi_guard.protocols import Clock, KeyValueStore

__all__ = ["Families", "Found", "new_name"]

_NAME_BYTES = 16
_MARGIN = 120.0  # seconds a record outlives its tokens, for clocks that differ


def new_name() -> str:
    """Return a name for a family, or a token's ``jti``, that nobody has had."""
    return secrets.token_urlsafe(_NAME_BYTES)


class Found(NamedTuple):
    """A family as it is stored, and whether its session or user has been ended."""

    family: Family | None
    stored: bytes
    ended: str


class Families:
    """Read and change families; each change is one atomic operation of the store.

    A session or a user is ended by one entry that every family of theirs is compared with, not by
    a search for the families: there is no moment in which one of them could slip through.

    Args:
        store: Shared by all processes.
        issuer: Whose tokens they are: two issuers may share a store.
        absolute: Seconds that the longest family lives.
        clock: Where "now" comes from.
    """

    def __init__(self, store: KeyValueStore, *, issuer: str, absolute: float, clock: Clock) -> None:
        self._store, self._issuer, self._clock = store, issuer, clock
        self._longest = absolute + _MARGIN

    async def begin(self, name: str, family: Family) -> None:
        """Keep a new family."""
        await self._store.put(self._key("family", name), family.to_bytes(), ttl=self._ttl(family))

    async def user_mark(self, subject: str) -> str:
        """Return what a family of *subject* that begins now has to remember."""
        mark = await self._store.get(self._key("user", subject))
        return "" if mark is None else mark.decode("ascii")

    async def find(self, name: str, *, subject: str) -> Found:
        """Return the family called *name*, in at most two round trips.

        Args:
            name: From a token that was verified.
            subject: From the same token.
        """
        keys = [self._key("family", name), self._key("user", subject)]
        stored, mark = await self._store.get_many(keys)
        if stored is None:
            return Found(None, b"", "")
        family = Family.from_bytes(stored)
        if mark is not None and mark.decode("ascii") != family.user_mark:
            return Found(family, stored, "refresh_user_revoked")
        if family.session_id is not None:
            ended = await self._store.get(self._key("session", family.session_id))
            if ended is not None:
                return Found(family, stored, "refresh_session_revoked")
        return Found(family, stored, "")

    async def replace(self, name: str, old: bytes, new: Family) -> bool:
        """Put *new* in the place of *old*; False if somebody else was first."""
        key = self._key("family", name)
        return await self._store.replace(key, old, new.to_bytes(), ttl=self._ttl(new))

    async def end(self, name: str, reason: str) -> Family | None:
        """End a family, whatever happens to it meanwhile; None if there is none.

        A rotation under way compares with what it has read, so it cannot undo this.
        """
        key = self._key("family", name)
        stored = await self._store.get(key)
        if stored is None:
            return None
        family = Family.from_bytes(stored)
        if not family.revoked:
            await self._store.put(key, family.ended(reason).to_bytes(), ttl=self._ttl(family))
        return family

    async def end_session(self, session_id: str) -> None:
        """End every family of a session."""
        await self._store.put(self._key("session", session_id), b"ended", ttl=self._longest)

    async def end_user(self, subject: str) -> None:
        """End every family of a user that has begun before; no clock is asked."""
        mark = secrets.token_hex(16).encode("ascii")
        await self._store.put(self._key("user", subject), mark, ttl=self._longest)

    def _key(self, kind: str, name: str) -> str:
        owner = f"{self._issuer}\n{kind}\n{name}".encode("utf-8", "surrogatepass")
        return f"refresh:{kind}:{sha256(owner).hexdigest()}"

    def _ttl(self, family: Family) -> float:
        # Ended ones are kept as well: a token that comes back must find out why.
        return max(family.ends_at - self._clock.now(), 0.0) + _MARGIN
