"""One session from its making to its end: create, validate, extend, terminate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from asgi_guard.auth.sessions.core import SessionCore, refuse
from asgi_guard.auth.sessions.endings import stamps_of
from asgi_guard.auth.sessions.identifiers import is_session_id, new_lineage, new_sid, session_id_of
from asgi_guard.auth.sessions.record import StoredSession, printable, thawed, words
from asgi_guard.auth.sessions.reporting import reported
from asgi_guard.auth.sessions.rights import check_tenant
from asgi_guard.auth.sessions.session import IssuedSession, Session
from asgi_guard.auth.sessions.table import Gone
from asgi_guard.secret import Secret

__all__ = ["SessionLifecycle"]


class SessionLifecycle(SessionCore):
    """What `SessionService` does with one session; see there."""

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
