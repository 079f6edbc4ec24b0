"""What an app keeps with a session: one bounded JSON object, changed by compare-and-set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final

from asgi_guard.auth.jose.strict_json import frozen, strict_object
from asgi_guard.auth.sessions.record import StoredSession, thawed
from asgi_guard.auth.sessions.session import SessionState
from asgi_guard.errors import (
    ConflictError,
    RejectionError,
    RequestInvalidError,
    UnavailableError,
)
from asgi_guard.protocols import Clock, KeyValueStore

__all__ = ["SessionStateTooLargeError", "SessionStates"]

_NOTHING: Final = SessionState(version=0, data=MappingProxyType({}))


class SessionStateTooLargeError(RejectionError):
    """The state has more bytes than are kept with a session (RFC 9110 section 15.5.14)."""

    code = "content_too_large"
    status = 413
    title = "Content too large"


class SessionStates:
    """The states of one store, under the session's lineage: a renewal keeps them, a switch not.

    Args:
        store: Where they are kept.
        most: Bytes of the largest.
        clock: Where "now" comes from.
    """

    def __init__(self, store: KeyValueStore, *, most: int, clock: Clock) -> None:
        self._store = store
        self._most = most
        self._clock = clock

    async def load(self, session: StoredSession) -> SessionState:
        """Return what is kept; version 0 and nothing if nothing is."""
        raw = await self._store.get(_key(session))
        return _NOTHING if raw is None else _decode(raw, session)

    async def persist(
        self, session: StoredSession, data: Mapping[str, Any], *, version: int
    ) -> SessionState:
        """Keep *data* if *version* is what is there.

        Raises:
            ConflictError: Another version is.
            RequestInvalidError: *data* is no JSON object.
            SessionStateTooLargeError: It has too many bytes.
        """
        if type(version) is not int or version < 0:
            raise RequestInvalidError("session_version_malformed")
        fresh = SessionState(version=version + 1, data=data)
        raw = self._encode(fresh, session)
        key, ttl = _key(session), session.expires_at - self._clock.now()
        seen = await self._store.get(key)
        known = _NOTHING if seen is None else _decode(seen, session)
        if known.version != version or ttl <= 0:
            raise ConflictError("session_state_changed")
        if seen is None:
            written = await self._store.put_if_absent(key, raw, ttl=ttl)
        else:
            written = await self._store.replace(key, seen, raw, ttl=ttl)
        if not written:
            raise ConflictError("session_state_changed")
        return _decode(raw, session)

    async def forget(self, session: StoredSession) -> None:
        """Remove what is kept."""
        await self._store.delete(_key(session))

    def _encode(self, state: SessionState, session: StoredSession) -> bytes:
        raw, owner = b"", [session.user_id, session.tenant_id]
        try:
            text = json.dumps(
                {"version": state.version, "owner": owner, "data": thawed(state.data)},
                separators=(",", ":"),
                allow_nan=False,
            )
            raw = text.encode()
        except (TypeError, ValueError, RecursionError):
            raw = b""
        sound = isinstance(state.data, Mapping) and strict_object(raw) is not None
        if not sound:
            raise RequestInvalidError("session_state_malformed")
        if len(raw) > self._most:
            raise SessionStateTooLargeError
        return raw


def _key(session: StoredSession) -> str:
    return f"session-state:{sha256(session.lineage.encode()).hexdigest()}"


def _decode(raw: bytes, session: StoredSession) -> SessionState:
    plain = strict_object(raw) or {}
    if plain.get("owner") != [session.user_id, session.tenant_id]:
        raise UnavailableError("session_state_malformed")  # another tenant's, or none of ours
    return SessionState(version=plain["version"], data=frozen(plain["data"]))
