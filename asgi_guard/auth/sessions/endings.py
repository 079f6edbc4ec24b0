"""Terminate all, in one write: every session carries a stamp, and a new stamp leaves it behind.

A list of sessions to delete is never complete: one that is being made, renewed or touched at that
moment is not on it yet, or comes back. So nothing is deleted. Each session belongs to groups (all
of a user, all of a tenant, a user's in a tenant), each group has one entry, and terminating all
puts a fresh random stamp there. A session made before carries another and is ended from that write
on, whatever is written about it later.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from asgi_guard.auth.jose.strict_json import strict_object
from asgi_guard.auth.sessions.record import StoredSession
from asgi_guard.errors import UnavailableError
from asgi_guard.protocols import KeyValueStore

__all__ = ["Ending", "Endings", "decoded", "group_key", "group_keys", "many", "stamps_of"]

# Longer than any session that the entry must outlive, also one whose maker's clock was ahead.
_MARGIN: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Ending:
    """The last terminate-all of one group.

    Args:
        stamp: Carried by sessions made since.
        kept: Lineage of the one session that was spared, if any.
    """

    stamp: str
    kept: str | None = None

    def spares(self, session: StoredSession, place: int) -> bool:
        """Tell whether *session*, in whose stamps this group has *place*, goes on."""
        return session.stamps[place] == self.stamp or session.lineage == self.kept


def group_key(*, user_id: str | None, tenant_id: str | None) -> str:
    """Return the store's key of a group: of a user, of a tenant, or of a user in a tenant."""
    name = json.dumps([user_id, tenant_id]).encode()
    return f"session-end:{sha256(name).hexdigest()}"


def group_keys(user_id: str, tenant_id: str | None) -> list[str]:
    """Return the keys of all groups that a session of *user_id* in *tenant_id* is in."""
    keys = [group_key(user_id=user_id, tenant_id=None)]
    if tenant_id is not None:
        keys.append(group_key(user_id=None, tenant_id=tenant_id))
        keys.append(group_key(user_id=user_id, tenant_id=tenant_id))
    return keys


def stamps_of(endings: Sequence[Ending | None]) -> list[str]:
    """Return what a session carries that is made after *endings*."""
    return ["" if each is None else each.stamp for each in endings]


class Endings:
    """The terminate-alls of one store.

    Args:
        store: Where they are kept.
        lifetime: Seconds of the longest session; an entry older than that ended nobody's.
    """

    def __init__(self, store: KeyValueStore, *, lifetime: float) -> None:
        self._store = store
        self._ttl = lifetime + _MARGIN

    async def of(self, user_id: str, tenant_id: str | None) -> list[Ending | None]:
        """Return the endings of all groups that a session of *user_id* in *tenant_id* is in."""
        return decoded(await many(self._store, group_keys(user_id, tenant_id)))

    async def end(self, key: str) -> None:
        """End every session of a group."""
        await self._store.put(key, _encode(Ending(secrets.token_hex(16))), ttl=self._ttl)

    async def read(self, key: str) -> bytes | None:
        """Return the group's entry as it is, for `end_others`."""
        return await self._store.get(key)

    async def end_others(self, key: str, seen: bytes | None, *, kept: str) -> bool:
        """End every session of a group but one lineage's, unless the group changed since *seen*.

        Whoever calls this has found the spared session alive after *seen* was read. Else a
        session that one terminate-all ended would come back through being spared by the next.
        """
        fresh = _encode(Ending(secrets.token_hex(16), kept))
        if seen is None:
            return await self._store.put_if_absent(key, fresh, ttl=self._ttl)
        return await self._store.replace(key, seen, fresh, ttl=self._ttl)


async def many(store: KeyValueStore, keys: list[str]) -> list[bytes | None]:
    """Return one answer for each of *keys*.

    Raises:
        UnavailableError: There are more or fewer, so nobody knows which is for which. With an
            ending left out, the session that it ended would go on.
    """
    found = await store.get_many(keys)
    if len(found) != len(keys):
        raise UnavailableError("session_store_confused")
    return found


def decoded(raws: Sequence[bytes | None]) -> list[Ending | None]:
    """Return the endings that the entries of a session's groups say.

    Raises:
        UnavailableError: One is none of ours.
    """
    return [_decode(raw) for raw in raws]


def _encode(ending: Ending) -> bytes:
    return json.dumps({"stamp": ending.stamp, "kept": ending.kept}).encode()


def _decode(raw: bytes | None) -> Ending | None:
    if raw is None:
        return None
    plain = strict_object(raw) or {}
    if set(plain) != {"stamp", "kept"}:
        raise UnavailableError("session_ending_malformed")
    return Ending(plain["stamp"], plain["kept"])
