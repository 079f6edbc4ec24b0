"""A session under a new sid: at a change of privilege, and at a change of tenant."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from asgi_guard.auth.sessions.endings import Endings, stamps_of
from asgi_guard.auth.sessions.identifiers import new_lineage, new_sid, session_id_of
from asgi_guard.auth.sessions.index import SessionIndex
from asgi_guard.auth.sessions.record import LOGIN_CLAIM, StoredSession, words
from asgi_guard.auth.sessions.session import IssuedSession
from asgi_guard.auth.sessions.table import Found, Gone, SessionTable
from asgi_guard.errors import (
    AuthenticationError,
    ConfigError,
    GuardError,
    TenantAccessError,
    UnavailableError,
)
from asgi_guard.protocols import Clock
from asgi_guard.tenancy.membership import Memberships

__all__ = ["Exchange", "member_of"]


async def member_of(memberships: Memberships | None, user_id: str, tenant_id: str) -> None:
    """Refuse a tenant that *user_id* is no active member of.

    Raises:
        ConfigError: There is nobody to ask.
        TenantAccessError: It is none, whatever the reason.
        UnavailableError: It cannot be said now.
    """
    if memberships is None:
        raise ConfigError(
            "SessionService.memberships",
            "is missing, so nobody can say whether the user may enter the other tenant",
            "Pass the Memberships that the guard has.",
        )
    try:
        membership = await memberships.lookup(user_id, tenant_id)
    except GuardError:
        raise
    except Exception as failure:
        raise UnavailableError("memberships_unreachable") from failure
    if membership is None or not membership.active:
        raise TenantAccessError("session_switch_no_member")


class Exchange:
    """Gives a session a new sid.

    Args:
        table: Where sessions are.
        index: The lists they are on.
        endings: The terminate-alls that they carry the stamps of.
        idle: For what callers are shown.
        push_out: Ends a session that the list of the tenant that is entered has no room for.
        clock: Where "now" comes from.
    """

    def __init__(
        self,
        table: SessionTable,
        *,
        index: SessionIndex,
        endings: Endings,
        idle: float,
        push_out: Callable[[str], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._table = table
        self._index = index
        self._endings = endings
        self._idle = idle
        self._push_out = push_out
        self._clock = clock

    async def renew(self, found: Found, **changes: Any) -> IssuedSession:
        """Return *found* under a new sid, with *changes* of its roles, scopes or claims."""
        if "claims" in changes:
            changes["claims"] |= _of_the_login(found.record)
        fresh = self._made_of(found.record, **changes)
        # The endings that it was found alive under: whatever ended it since has ended this, too.
        return await self._take_place(found, replace(fresh, stamps=stamps_of(found.endings)))

    async def switch(
        self, found: Found, tenant_id: str, *, roles: Iterable[str], scopes: Iterable[str]
    ) -> IssuedSession:
        """Return a session of the same user in another tenant.

        Nothing of the old one's is kept but which login it began with.

        Raises:
            AuthenticationError: The session ended meanwhile.
        """
        endings = await self._endings.of(found.record.user_id, tenant_id)
        # Looked up again after the other tenant's endings were read: one that ended all of the
        # user's sessions in between must not be taken for one from before this session.
        again = await self._table.find(found.session_id)
        if isinstance(again, Gone):
            raise AuthenticationError(again.reason)
        fresh = self._made_of(
            again.record,
            tenant_id=tenant_id,
            roles=words("switch_tenant.roles", roles),
            scopes=words("switch_tenant.scopes", scopes),
            claims=_of_the_login(again.record),
            lineage=new_lineage(),
            stamps=stamps_of(endings),
        )
        return await self._take_place(again, fresh)

    def _made_of(self, record: StoredSession, **changes: Any) -> StoredSession:
        return replace(record, **changes, seen_at=self._clock.now(), pending=True)

    async def _take_place(self, found: Found, pending: StoredSession) -> IssuedSession:
        sid = new_sid()
        session_id = str(session_id_of(sid))
        pushed_out = await self._index.add(
            session_id, pending.owner, alive=self._living, replacing=found.session_id
        )
        await self._table.add(session_id, pending)
        if not await self._table.hand_over(found, session_id, pending):
            await self._index.remove(session_id, pending.owner)
            raise AuthenticationError("session_superseded")
        for each in pushed_out:
            await self._push_out(each)
        with suppress(UnavailableError):  # a list may name what has ended
            await self._index.remove(found.session_id, found.record.owner)
        shown = replace(pending, pending=False).shown(session_id, idle=self._idle)
        return IssuedSession(sid=sid, session=shown)

    async def _living(self, session_ids: list[str]) -> set[str]:
        return {each.session_id for each in await self._table.find_many(session_ids)}


def _of_the_login(record: StoredSession) -> dict[str, Any]:
    return {name: each for name, each in record.claims.items() if name == LOGIN_CLAIM}
