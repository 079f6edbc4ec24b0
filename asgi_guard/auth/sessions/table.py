"""Sessions in a `KeyValueStore`: found, touched, exchanged and removed, each by compare-and-set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from asgi_guard.auth.sessions.endings import Ending, Endings, decoded, group_keys, many
from asgi_guard.auth.sessions.record import Entry, StoredSession, Successor, decode, encode
from asgi_guard.errors import UnavailableError
from asgi_guard.protocols import Clock, KeyValueStore

__all__ = ["Found", "Gone", "SessionTable", "Taken"]

# An ended entry stays this long, so that an event can tell a session that ended from a guess.
_LINGER: Final = 300.0
_MOST_RENEWALS_FOLLOWED: Final = 256
_MOST_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Found:
    """A live session, the bytes it was read from, and the endings it was found alive under."""

    session_id: str
    raw: bytes
    record: StoredSession
    endings: list[Ending | None]


@dataclass(frozen=True, slots=True)
class Gone:
    """No live session: a stable reason, and what it was, if that is still known."""

    session_id: str
    reason: str
    record: StoredSession | None = None


class Taken(NamedTuple):
    """A session that was removed, under the id it had by then, and the ids that led to it."""

    session_id: str
    record: StoredSession
    trail: list[str]


class SessionTable:
    """What the store holds under session ids.

    Args:
        store: Any `KeyValueStore`.
        endings: The terminate-alls of the same store.
        idle: Seconds without use after which a session ends.
        clock: Where "now" comes from.
    """

    def __init__(
        self, store: KeyValueStore, *, endings: Endings, idle: float, clock: Clock
    ) -> None:
        self._store = store
        self._endings = endings
        self._idle = idle
        self._clock = clock
        self._groups: dict[str, list[str]] = {}

    async def find(self, session_id: str) -> Found | Gone:
        """Look a session up: one read, two for a session that is new to this process; no write."""
        raw, entries = await self._read(session_id)
        if raw is None:
            return Gone(session_id, "session_unknown")
        record = decode(raw)
        if isinstance(record, Successor):
            return Gone(session_id, "session_superseded")
        if record.pending:
            return Gone(session_id, "session_unknown")
        if entries is None:
            # After the record, so that a terminate-all which is over by now is seen.
            endings = await self._endings.of(*record.owner)
            self._remember(session_id, record)
        else:
            endings = decoded(entries)
        reason = self._defect(record, endings)
        return (
            Gone(session_id, reason, record) if reason else Found(session_id, raw, record, endings)
        )

    async def _read(self, session_id: str) -> tuple[bytes | None, list[bytes | None] | None]:
        # Whose a session is never changes under one id, so what it says of its groups is
        # remembered, and nothing else: whether it lives is read anew each time.
        groups = self._groups.get(session_id)
        if groups is None:
            return await self._store.get(_key(session_id)), None
        raw, *entries = await many(self._store, [_key(session_id), *groups])
        return raw, entries

    def _remember(self, session_id: str, record: StoredSession) -> None:
        if len(self._groups) >= _MOST_REMEMBERED:
            self._groups.clear()
        self._groups[session_id] = group_keys(*record.owner)

    async def find_many(self, session_ids: list[str]) -> list[Found]:
        """Return the live ones of *session_ids*, all of one user in one tenant."""
        raws = await many(self._store, [_key(each) for each in session_ids])
        found: list[Found] = []
        endings: list[Ending | None] | None = None
        for session_id, raw in zip(session_ids, raws, strict=True):
            record = None if raw is None else decode(raw)
            if raw is None or not isinstance(record, StoredSession) or record.pending:
                continue
            if endings is None:
                endings = await self._endings.of(record.user_id, record.tenant_id)
            if not self._defect(record, endings):
                found.append(Found(session_id, raw, record, endings))
        return found

    async def touch(self, found: Found) -> Found | Gone:
        """Record that a session was used now.

        A plain write could bring back what was ended in between. If somebody else wrote first,
        what they left is looked at instead.
        """
        fresh = replace(found.record, seen_at=self._clock.now())
        raw = encode(fresh)
        if await self._swap(found.session_id, found.raw, raw, self._ttl(fresh)):
            return Found(found.session_id, raw, fresh, found.endings)
        return await self.find(found.session_id)

    async def add(self, session_id: str, record: StoredSession) -> None:
        """Write a new session.

        Raises:
            UnavailableError: There is one under this id, which 256 random bits rule out.
        """
        raw = encode(record)
        if not await self._store.put_if_absent(_key(session_id), raw, ttl=self._ttl(record)):
            raise UnavailableError("session_id_taken")

    async def hand_over(self, found: Found, session_id: str, pending: StoredSession) -> bool:
        """Let *session_id*, added as *pending*, take the place of *found*; False if that ended.

        The old sid is dead from the first write on, the new one alive from the second. In between
        neither opens anything, and a logout with the old one finds its way to the new one.
        """
        old: Found | Gone = found
        while isinstance(old, Found):
            pointer = encode(Successor(session_id))
            # As long as the new one may live: a provider's logout names the session it began.
            ttl = max(pending.expires_at - self._clock.now(), self._idle) + _LINGER
            if await self._swap(old.session_id, old.raw, pointer, ttl):
                return await self._activate(session_id, pending)
            old = await self.find(old.session_id)  # touched meanwhile, or ended
        await self._store.delete(_key(session_id))
        return False

    async def take(self, session_id: str) -> Taken | None:
        """Remove a session, or whatever it was renewed to.

        The pointers that lead there stay, for `forget_trail`: whoever is interrupted before can
        be told again to end it.
        """
        trail: list[str] = []
        for _ in range(_MOST_RENEWALS_FOLLOWED):
            entry = _entry(await self._store.get(_key(session_id)))
            if isinstance(entry, StoredSession):
                entry = _entry(await self._store.take(_key(session_id)))
            if not isinstance(entry, Successor):
                return None if entry is None else Taken(session_id, entry, trail)
            trail.append(session_id)
            session_id = entry.session_id
        return None

    async def forget_trail(self, taken: Taken) -> None:
        """Remove the pointers that led to a session; they lead nowhere, and end by themselves."""
        for each in taken.trail:
            await self._store.delete(_key(each))

    async def owner(self, session_id: str) -> tuple[str, str | None] | None:
        """Return user and tenant of a session, alive or not, or of what it was renewed to."""
        for _ in range(_MOST_RENEWALS_FOLLOWED):
            entry = _entry(await self._store.get(_key(session_id)))
            if not isinstance(entry, Successor):
                return None if entry is None else entry.owner
            session_id = entry.session_id
        return None

    async def _activate(self, session_id: str, pending: StoredSession) -> bool:
        fresh = replace(pending, pending=False)
        return await self._swap(session_id, encode(pending), encode(fresh), self._ttl(fresh))

    async def _swap(self, session_id: str, old: bytes, new: bytes, ttl: float) -> bool:
        return await self._store.replace(_key(session_id), old, new, ttl=ttl)

    def _defect(self, record: StoredSession, endings: list[Ending | None]) -> str:
        now = self._clock.now()
        for place, ending in enumerate(endings):
            if ending is not None and not ending.spares(record, place):
                return "session_terminated"
        if now >= record.expires_at:
            return "session_expired"
        return "session_idle" if now >= record.seen_at + self._idle else ""

    def _ttl(self, record: StoredSession) -> float:
        end = min(record.seen_at + self._idle, record.expires_at)
        return max(end - self._clock.now(), 0.0) + _LINGER


def _entry(raw: bytes | None) -> Entry | None:
    return None if raw is None else decode(raw)


def _key(session_id: str) -> str:
    return f"session:{session_id}"
