"""What every step of a session's life does: look it up, put it in its place, end it."""

from __future__ import annotations

from contextlib import suppress
from typing import NoReturn

import anyio

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.principal import session_hash
from asgi_guard.auth.sessions.endings import Endings
from asgi_guard.auth.sessions.index import SessionIndex
from asgi_guard.auth.sessions.limits import SessionLimits
from asgi_guard.auth.sessions.record import StoredSession
from asgi_guard.auth.sessions.reporting import reported, tell
from asgi_guard.auth.sessions.rights import check_session
from asgi_guard.auth.sessions.session import Session
from asgi_guard.auth.sessions.states import SessionStates
from asgi_guard.auth.sessions.table import Found, Gone, SessionTable
from asgi_guard.auth.sessions.wakeups import Wakeups
from asgi_guard.auth.socket_lease import Ticker
from asgi_guard.errors import AuthenticationError, ConfigError
from asgi_guard.protocols import Clock, KeyValueStore

__all__ = ["SessionCore", "refuse"]


class SessionCore:
    """The parts that `SessionService` is made of, and what its steps share.

    Args:
        store: Where sessions are kept.
        limits: How long they last.
        clock: Where "now" comes from.
        ticker: Waits between the checks of an open socket.

    Raises:
        ConfigError: *store* is no `KeyValueStore`.
    """

    def __init__(
        self,
        store: KeyValueStore,
        *,
        limits: SessionLimits | None = None,
        clock: Clock = SYSTEM_CLOCK,
        ticker: Ticker = anyio.sleep,
    ) -> None:
        if isinstance(store, type) or not isinstance(store, KeyValueStore):
            raise ConfigError("SessionService.store", f"is {store!r}", "Pass e.g. MemoryStore().")
        self.limits = limits or SessionLimits()
        self.wakeups = Wakeups()
        self.clock = self._clock = clock
        self.ticker = ticker
        longest, idle = self.limits.absolute, self.limits.idle
        self._endings = Endings(store, lifetime=longest)
        self._table = SessionTable(store, endings=self._endings, idle=idle, clock=clock)
        self._index = SessionIndex(store, lifetime=longest, most=self.limits.per_user)
        self._states = SessionStates(store, most=self.limits.state_bytes, clock=clock)

    async def _live(self, session_id: str | None, *, used: bool = True) -> Found:
        found: Found | Gone = Gone("", "session_malformed")
        if session_id is not None:
            found = await self._table.find(session_id)
        if isinstance(found, Gone):
            refuse(found)
        check_session(found.record.user_id, found.record.tenant_id)
        if used and self._clock.now() - found.record.seen_at >= self.limits.touch_every:
            touched = await self._table.touch(found)
            return refuse(touched) if isinstance(touched, Gone) else touched
        return found

    async def _add(self, session_id: str, record: StoredSession) -> None:
        # The list first: what is there is listed, and what is only listed opens nothing.
        pushed_out = await self._index.add(session_id, record.owner, alive=self._living)
        await self._table.add(session_id, record)
        for each in pushed_out:
            await self._push_out(each)

    async def _push_out(self, session_id: str) -> None:
        # A switch does this in the tenant that is entered, from a request of the one that is left.
        await self._end(session_id, reason="too_many_sessions", own_tenant=False)

    async def _end(self, session_id: str, *, reason: str, own_tenant: bool = True) -> bool:
        with reported("SESSION_TERMINATED", quiet=True, session_id=session_id) as step:
            owner = await self._table.owner(session_id)
            if owner is not None:
                step.user_id, step.tenant_id = owner
            if owner is not None and own_tenant:
                check_session(*owner)
            taken = await self._table.take(session_id)
            if taken is None:
                return False
            # Said at once: a caller that hangs up during what follows has ended it all the same.
            self.wakeups.session(taken.session_id)
            shown = taken.record.shown(taken.session_id, idle=self.limits.idle)
            tell("SESSION_TERMINATED", reason=reason, session=shown)
        with suppress(Exception):  # it has ended; what is left opens nothing
            await self._states.forget(taken.record)
            await self._index.remove(taken.session_id, taken.record.owner)
            await self._table.forget_trail(taken)
        return True

    async def _living(self, session_ids: list[str]) -> set[str]:
        return {each.session_id for each in await self._table.find_many(session_ids)}

    def _shown(self, found: Found) -> Session:
        return found.record.shown(found.session_id, idle=self.limits.idle)


def refuse(gone: Gone) -> NoReturn:
    """Refuse a sid that opens nothing.

    Raises:
        AuthenticationError: Always; its details name the session as events do, if there was one.
    """
    refusal = AuthenticationError(gone.reason)
    if gone.record is not None:
        refusal.details = {"session": session_hash(gone.session_id)}
    raise refusal
