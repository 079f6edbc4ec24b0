"""One session from its making to its end: create, validate, extend, terminate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NoReturn

import anyio

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.principal import session_hash
from asgi_guard.auth.sessions.endings import Endings, stamps_of
from asgi_guard.auth.sessions.identifiers import is_session_id, new_lineage, new_sid, session_id_of
from asgi_guard.auth.sessions.index import SessionIndex
from asgi_guard.auth.sessions.limits import SessionLimits
from asgi_guard.auth.sessions.record import StoredSession, printable, thawed, words
from asgi_guard.auth.sessions.reporting import reported, tell
from asgi_guard.auth.sessions.rights import check_session, check_tenant
from asgi_guard.auth.sessions.session import IssuedSession, Session
from asgi_guard.auth.sessions.states import SessionStates
from asgi_guard.auth.sessions.table import Found, Gone, SessionTable
from asgi_guard.auth.sessions.wakeups import Wakeups
from asgi_guard.auth.socket_lease import Ticker
from asgi_guard.errors import AuthenticationError, ConfigError, UnavailableError
from asgi_guard.protocols import Clock, KeyValueStore
from asgi_guard.secret import Secret

__all__ = ["SessionLifecycle", "refuse"]


class SessionLifecycle:
    """What `SessionService` does with one session; see there.

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

    async def create(
        self,
        *,
        user_id: str,
        tenant_id: str | None = None,
        roles: Iterable[str] = (),
        scopes: Iterable[str] = (),
        claims: Mapping[str, Any] | None = None,
        label: str = "",
        replaces: str | Secret | None = None,
    ) -> IssuedSession:
        """Make a session for a user who has just proved who they are.

        Args:
            user_id: Whose.
            tenant_id: The tenant that the login was for; None where requests name it otherwise.
                Pass only one whose membership you have looked up.
            roles: Beside those of the membership.
            scopes: OAuth scopes.
            claims: Further facts for resolvers, a JSON object.
            label: For lists of devices; at most 100 printable characters.
            replaces: The sid that the browser sent with its login, if any; it is ended first, so
                that nobody goes on with a session from before.

        Raises:
            ConfigError: A value is malformed.
            TenantAccessError: It is another tenant than the request's.
            UnavailableError: The store does not answer.

        The sid is always a fresh one. What a browser brings along never becomes a session
        (session fixation, CWE-384).
        """
        old = session_id_of(replaces)
        del replaces  # error trackers record locals
        user_id = printable("create.user_id", user_id)
        tenant_id = None if tenant_id is None else printable("create.tenant_id", tenant_id)
        now, sid = self._clock.now(), new_sid()
        session_id = str(session_id_of(sid))
        with reported(
            "SESSION_CREATED", session_id=session_id, user_id=user_id, tenant_id=tenant_id
        ) as step:
            check_tenant(tenant_id)
            record = StoredSession(
                user_id=user_id,
                tenant_id=tenant_id,
                roles=words("create.roles", roles),
                scopes=words("create.scopes", scopes),
                claims=thawed(claims or {}),
                label=printable("create.label", label, most=100, empty=True),
                created_at=now,
                seen_at=now,
                expires_at=now + self.limits.absolute,
                lineage=new_lineage(),
                # Read before it is written: what ends all sessions meanwhile ends this one, too.
                stamps=stamps_of(await self._endings.of(user_id, tenant_id)),
            )
            if old is not None:
                await self._end(old, reason="replaced_by_login")
            await self._add(session_id, record)
            step.session = record.shown(session_id, idle=self.limits.idle)
        return IssuedSession(sid=sid, session=step.session)

    async def judge(self, sid: str | Secret) -> Session:
        """Return the session that *sid* opens, as `validate`, but leave no event.

        Raises:
            AuthenticationError: It opens none.
            UnavailableError: The store does not answer.
        """
        session_id = session_id_of(sid)
        del sid  # as in create
        return self._shown(await self._live(session_id))

    async def validate(
        self, sid: str | Secret, *, client: str | None = None, request_id: str | None = None
    ) -> Session:
        """Return the session that *sid* opens.

        Args:
            sid: As it was sent.
            client: Address, for the event of a refusal.
            request_id: For the event.

        Raises:
            AuthenticationError: It opens none.
            UnavailableError: The store does not answer.

        One read (two for a session that is new to this process); a write only if the last
        recorded use is `SessionLimits.touch_every` ago.
        """
        session_id = session_id_of(sid)
        del sid  # as in create
        with reported("SESSION_REFUSED", quiet=True, session_id=session_id) as step:
            step.client, step.request_id = client, request_id
            return self._shown(await self._live(session_id))

    async def check(self, session_id: str, *, used: bool = False) -> Session:
        """Return a session by its id: for open sockets and tickets, which hold no sid.

        Args:
            session_id: From a principal or context. It is no credential; never take one from a
                caller in its place.
            used: Whether this counts as use of the session.

        Raises:
            AuthenticationError: It has ended.
            UnavailableError: The store does not answer.
        """
        known = session_id if is_session_id(session_id) else None
        return self._shown(await self._live(known, used=used))

    async def extend(self, sid: str | Secret) -> Session:
        """Record a use now, so that the idle time begins anew; the absolute end stays.

        Raises:
            AuthenticationError: *sid* opens no session.
            UnavailableError: The store does not answer.
        """
        session_id = session_id_of(sid)
        del sid  # as in create
        with reported("SESSION_EXTENDED", session_id=session_id) as step:
            found = await self._table.touch(await self._live(session_id, used=False))
            if isinstance(found, Gone):
                refuse(found)
            step.session = self._shown(found)
        return step.session

    async def terminate(self, sid: str | Secret) -> bool:
        """End a session, also if it has been renewed to another sid since; for logouts.

        Returns:
            False if there was none.

        Raises:
            TenantAccessError: It is of another tenant than the request.
            UnavailableError: The store does not answer; it may not have ended.
        """
        session_id = session_id_of(sid)
        del sid  # as in create
        return session_id is not None and await self._end(session_id, reason="logout")

    async def terminate_by_id(
        self, session_id: str, *, user_id: str, tenant_id: str | None = None
    ) -> bool:
        """End a session from a list, if it is of *user_id* in *tenant_id*.

        Returns:
            False if there is no such session, or it is somebody else's.

        Raises:
            TenantAccessError: *tenant_id* is not the request's.
            UnavailableError: The store does not answer; it may not have ended.
        """
        if not is_session_id(session_id):
            return False
        owner = await self._table.owner(session_id)
        return owner == (user_id, tenant_id) and await self._end(session_id, reason="by_id")

    async def terminate_origin(self, session_id: str) -> bool:
        """End a session by the id it was made with, whatever it was renewed or switched to since.

        For those who remember a login and not its session: a provider that says it is over.

        Args:
            session_id: Of what `create` returned, from the app's own memory; never a caller's.

        Returns:
            False if there is none any more.

        Raises:
            TenantAccessError: It is of another tenant than the request.
            UnavailableError: The store does not answer; it may not have ended.
        """
        return is_session_id(session_id) and await self._end(session_id, reason="by_origin")

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
            await self._end(each, reason="too_many_sessions", listed=False)

    async def _end(self, session_id: str, *, reason: str, listed: bool = True) -> bool:
        with reported("SESSION_TERMINATED", quiet=True, session_id=session_id) as step:
            owner = await self._table.owner(session_id)
            if owner is not None:
                step.user_id, step.tenant_id = owner
                check_session(*owner)
            taken = await self._table.take(session_id)
            if taken is None:
                return False
            session_id, record = taken
            self.wakeups.session(session_id)
            with suppress(UnavailableError):  # it has ended; what is left opens nothing
                await self._states.forget(record)
                if listed:
                    await self._index.remove(session_id, record.owner)
        shown = record.shown(session_id, idle=self.limits.idle)
        tell("SESSION_TERMINATED", reason=reason, session=shown)
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
