"""SessionService: every step of a server-side session's life."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import anyio

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.auth.sessions.core import refuse
from asgi_guard.auth.sessions.endings import group_key
from asgi_guard.auth.sessions.exchange import Exchange, member_of
from asgi_guard.auth.sessions.identifiers import is_session_id, session_id_of
from asgi_guard.auth.sessions.lifecycle import SessionLifecycle
from asgi_guard.auth.sessions.limits import SessionLimits
from asgi_guard.auth.sessions.record import printable, thawed, words
from asgi_guard.auth.sessions.reporting import reported
from asgi_guard.auth.sessions.rights import check_group, check_tenant
from asgi_guard.auth.sessions.session import IssuedSession, Session, SessionState
from asgi_guard.auth.sessions.table import Found, Gone
from asgi_guard.auth.socket_lease import Ticker
from asgi_guard.errors import AuthenticationError, ConfigError, UnavailableError
from asgi_guard.protocols import Clock, KeyValueStore
from asgi_guard.secret import Secret
from asgi_guard.tenancy.membership import Memberships

__all__ = ["SessionService"]

_TRIES: Final = 100


class SessionService(SessionLifecycle):
    """Server-side sessions of one app.

    Args:
        store: `MemoryStore` for one process, `SQLStore` or `RedisStore` for many.
        limits: How long sessions last and how much they hold; the same in every process.
        memberships: Asked by `switch_tenant`.
        clock: Where "now" comes from.
        ticker: Waits between the checks of an open socket.

    Raises:
        ConfigError: *store* is no `KeyValueStore`.

    A *sid* is the secret that the browser has; a *session id* is its SHA-256 and opens nothing.
    Methods that take a sid act on one live session and raise `AuthenticationError` (401) without
    telling which of malformed, unknown, renewed, idle, expired or terminated it is; the event
    tells. If the store does not answer they raise `UnavailableError` (503). Within a request only
    sessions of the request's own tenant are touched (`TenantAccessError`). Each step leaves one
    event; a use that goes well leaves none.
    """

    def __init__(
        self,
        store: KeyValueStore,
        *,
        limits: SessionLimits | None = None,
        memberships: Memberships | None = None,
        clock: Clock = SYSTEM_CLOCK,
        ticker: Ticker = anyio.sleep,
    ) -> None:
        super().__init__(store, limits=limits, clock=clock, ticker=ticker)
        self._memberships = memberships
        self._exchange = Exchange(
            self._table,
            index=self._index,
            endings=self._endings,
            idle=self.limits.idle,
            push_out=self._push_out,
            clock=clock,
        )

    async def renew(
        self,
        sid: str | Secret,
        *,
        roles: Iterable[str] | None = None,
        scopes: Iterable[str] | None = None,
        claims: Mapping[str, Any] | None = None,
    ) -> IssuedSession:
        """Put a session under a new sid: at any change of privilege (OWASP ASVS 5.0, 7.2.4).

        Args:
            sid: The present one, dead once this returns or raises `AuthenticationError`.
            roles: New roles; None keeps them.
            scopes: New scopes; None keeps them.
            claims: New claims; None keeps them. Which login it began with stays in any case.

        Raises:
            AuthenticationError: *sid* opens no session, or another call was first.
            UnavailableError: The store does not answer; the session may have ended.

        Of any number of concurrent calls one wins. At no moment do both sids work. Login, absolute
        end and kept state stay; open sockets of the old sid are closed.
        """
        session_id = session_id_of(sid)
        del sid  # error trackers record locals
        changes: dict[str, Any] = {}
        if roles is not None:
            changes["roles"] = words("renew.roles", roles)
        if scopes is not None:
            changes["scopes"] = words("renew.scopes", scopes)
        if claims is not None:
            changes["claims"] = thawed(claims)
        with reported("SESSION_RENEWED", session_id=session_id) as step:
            found = await self._live(session_id, used=False)
            step.session = self._shown(found)
            issued = await self._exchange.renew(found, **changes)
            step.session = issued.session
        self.wakeups.session(found.session_id)
        return issued

    async def switch_tenant(
        self,
        sid: str | Secret,
        *,
        tenant_id: str,
        roles: Iterable[str] = (),
        scopes: Iterable[str] = (),
    ) -> IssuedSession:
        """Take the user to another tenant of theirs, under a new sid.

        Args:
            sid: The present one, dead once this returns.
            tenant_id: Looked up in *memberships*, whoever names it.
            roles: Roles there beside the membership's; none are carried over.
            scopes: Scopes there; none are carried over, and neither are claims nor kept state;
                which login at a provider it began with stays known, for the logout.

        Raises:
            AuthenticationError: *sid* opens no session, or another call was first.
            TenantAccessError: The user is no active member there, or there is no such tenant.
            ConfigError: The service has no *memberships*.
            UnavailableError: The store does not answer.
        """
        session_id = session_id_of(sid)
        del sid  # as in renew
        tenant_id = printable("switch_tenant.tenant_id", tenant_id)
        with reported("SESSION_TENANT_SWITCHED", session_id=session_id) as step:
            found = await self._live(session_id, used=False)
            step.session = self._shown(found)
            await member_of(self._memberships, found.record.user_id, tenant_id)
            issued = await self._exchange.switch(found, tenant_id, roles=roles, scopes=scopes)
            step.session = issued.session
        self.wakeups.session(found.session_id)
        return issued

    async def list_sessions(self, *, user_id: str, tenant_id: str | None = None) -> list[Session]:
        """Return a user's live sessions in a tenant, oldest first; none can be opened by this.

        Raises:
            TenantAccessError: It is another tenant than the request's.
            UnavailableError: The store does not answer.
        """
        check_tenant(tenant_id)
        listed = await self._index.listed((user_id, tenant_id))
        return [self._shown(each) for each in await self._table.find_many(listed)]

    async def terminate_all(
        self,
        *,
        user_id: str | None = None,
        tenant_id: str | None = None,
        keep: str | None = None,
    ) -> None:
        """End every session of a user, of a tenant, or of a user in a tenant, in one write.

        Args:
            user_id: Whose; None for everybody's in *tenant_id*.
            tenant_id: Where; None for everywhere, if user ids mean the same in all tenants.
            keep: Id of one session of *user_id* that goes on: ``context.session_id``.

        Raises:
            ConfigError: Neither is given, or *keep* without *user_id*.
            AuthenticationError: The session to keep has ended; nothing was done.
            TenantAccessError: They are not the request's own to end.
            UnavailableError: The store does not answer.

        Sessions that are being made, renewed or touched meanwhile end as well.
        """
        if (user_id is None and tenant_id is None) or (keep is not None and user_id is None):
            raise ConfigError("terminate_all", "names nobody", "Pass user_id or tenant_id.")
        key = group_key(user_id=user_id, tenant_id=tenant_id)
        with reported("SESSIONS_TERMINATED", user_id=user_id, tenant_id=tenant_id):
            check_group(user_id, tenant_id)
            if keep is None:
                await self._endings.end(key)
            else:
                await self._end_others(key, keep, user_id=user_id, tenant_id=tenant_id)
        self.wakeups.group(user_id=user_id, tenant_id=tenant_id)

    async def load(self, sid: str | Secret) -> SessionState:
        """Return what is kept with a session; version 0 and nothing if nothing is.

        Raises:
            AuthenticationError: *sid* opens no session.
            UnavailableError: The store does not answer.
        """
        session_id = session_id_of(sid)
        del sid  # as in renew
        with reported("SESSION_REFUSED", quiet=True, session_id=session_id):
            return await self._states.load((await self._live(session_id)).record)

    async def persist(
        self, sid: str | Secret, data: Mapping[str, Any], *, version: int
    ) -> SessionState:
        """Keep *data* with a session, in place of what was there.

        Args:
            sid: The session's.
            data: A JSON object.
            version: Of the state that this one follows, as `load` told it; 0 for the first.

        Raises:
            AuthenticationError: *sid* opens no session.
            ConflictError: Another call was first; load, and decide again.
            RequestInvalidError: It is no JSON object.
            SessionStateTooLargeError: It is larger than `SessionLimits.state_bytes`.
            UnavailableError: The store does not answer.
        """
        session_id = session_id_of(sid)
        del sid  # as in renew
        with reported("SESSION_STATE_KEPT", session_id=session_id) as step:
            found = await self._live(session_id)
            step.session = self._shown(found)
            state = await self._states.persist(found.record, data, version=version)
            step.details["version"] = state.version
        return state

    async def _end_others(
        self, key: str, keep: str, *, user_id: str | None, tenant_id: str | None
    ) -> None:
        for _ in range(_TRIES):
            seen = await self._endings.read(key)
            found: Found | Gone = Gone("", "session_malformed")
            if is_session_id(keep):
                found = await self._table.find(keep)
            if isinstance(found, Gone):
                refuse(found)
            if found.record.user_id != user_id or tenant_id not in {None, found.record.tenant_id}:
                raise AuthenticationError("session_of_somebody_else")
            if await self._endings.end_others(key, seen, kept=found.record.lineage):
                return
        raise UnavailableError("session_endings_contended")
