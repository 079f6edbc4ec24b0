"""SessionLogins: logins begin, and logouts end, sessions of `asgi_guard.auth.sessions`."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from asgi_guard.auth.jose.strict_json import strict_object
from asgi_guard.auth.oidc.refusal import refuse
from asgi_guard.auth.oidc.sessions import StartedSession
from asgi_guard.auth.oidc.verified_login import VerifiedLogin
from asgi_guard.auth.sessions import IssuedSession, SessionService
from asgi_guard.auth.sessions.cookie import SessionCookie
from asgi_guard.auth.sessions.record import LOGIN_CLAIM
from asgi_guard.errors import AuthenticationError, ConfigError, LoginRefusedError, UnavailableError
from asgi_guard.protocols import KeyValueStore, Scope
from asgi_guard.secret import Secret
from asgi_guard.tenancy.membership import Memberships

__all__ = ["LoginAccount", "SessionLogins"]

Header = tuple[bytes, bytes]
_MARGIN: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginAccount:
    """Which user of the app came back from the provider.

    Args:
        user_id: The app's own name of the user.
        roles: Beside those of the membership.
        scopes: OAuth scopes.
        label: For lists of devices.
    """

    user_id: str
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    label: str = ""


OnLogin = Callable[[VerifiedLogin], Awaitable[LoginAccount | None]]


class SessionLogins:
    """The `LoginSessions` of an app with a `SessionService`.

    Args:
        service: Where sessions are.
        store: The one of `OIDCLogin`.
        on_login: Finds or makes the user for what a provider proved, by issuer and subject; None
            to refuse. It runs before there is a session.
        memberships: Asked whether the user is an active member of the tenant at which the login
            began. Required when logins have tenants.
        cookie: The one that the app's `SessionAuthenticator` reads.

    Raises:
        ConfigError: An argument is not what it should be.
    """

    def __init__(
        self,
        service: SessionService,
        *,
        store: KeyValueStore,
        on_login: OnLogin,
        memberships: Memberships | None = None,
        cookie: SessionCookie | None = None,
    ) -> None:
        if not isinstance(service, SessionService):
            raise ConfigError("SessionLogins.service", "is no SessionService", "Pass one.")
        if not callable(on_login):
            raise ConfigError("SessionLogins.on_login", "cannot be called", "Pass a function.")
        self._service = service
        self._store = store
        self._on_login = on_login
        self._memberships = memberships
        self._cookie = cookie or SessionCookie()

    @property
    def knows_members(self) -> bool:
        """Whether a login at a tenant can be judged."""
        return self._memberships is not None

    async def start(self, scope: Scope, login: VerifiedLogin) -> StartedSession:
        """Begin a session under a new id, and end the one that the browser came with.

        Raises:
            LoginRefusedError: There is no such user, or no member of the tenant.
            UnavailableError: It cannot be decided or stored now.
        """
        account = await self._on_login(login)
        if account is None:
            refuse("account_unknown")
        await self._check_member(account.user_id, login.tenant_id)
        reference = secrets.token_urlsafe(24)
        issued = await self._service.create(
            user_id=account.user_id,
            tenant_id=login.tenant_id,
            roles=account.roles,
            scopes=account.scopes,
            claims={LOGIN_CLAIM: reference},
            label=account.label,
            replaces=self._sid_of(scope),
        )
        await self._note(reference, issued)
        return StartedSession(
            reference=reference,
            seconds=self._service.limits.absolute,
            user_id=issued.session.user_id,
            session_id=issued.session.session_id,
            headers=(self._cookie.header(issued),),
        )

    async def leave(self, scope: Scope) -> str | None:
        """End the session whose cookie *scope* brings.

        Raises:
            UnavailableError: It could not be ended now.
        """
        sid = self._sid_of(scope)
        if sid is None:
            return None
        reference: object = None
        try:
            reference = (await self._service.judge(sid)).claims.get(LOGIN_CLAIM)
        except AuthenticationError:
            reference = None
        await self._service.terminate(sid)
        return reference if isinstance(reference, str) else None

    async def end(self, reference: str) -> None:
        """End the session that began under *reference*, also if it has another id by now.

        Raises:
            UnavailableError: It could not be ended now.
        """
        found = await self._store.get(_key(reference))
        if found is None:
            return
        known = strict_object(found) or {}
        await self._service.terminate_origin(known["session"])
        await self._store.delete(_key(reference))

    def farewell(self) -> Sequence[Header]:
        """Return the header that takes the cookie away."""
        return (self._cookie.clearing,)

    def _sid_of(self, scope: Scope) -> Secret | None:
        try:
            return self._cookie.read(scope)
        except AuthenticationError:
            return None  # what opens nothing needs no end

    async def _note(self, reference: str, issued: IssuedSession) -> None:
        session = issued.session
        kept = {"session": session.session_id}
        is_kept = False
        try:
            await self._store.put(
                _key(reference),
                json.dumps(kept).encode(),
                ttl=self._service.limits.absolute + _MARGIN,
            )
            is_kept = True
        finally:
            if not is_kept:  # no logout could find it
                await self._service.terminate(issued.sid)

    async def _check_member(self, user_id: str, tenant_id: str | None) -> None:
        if tenant_id is None:
            return
        if self._memberships is None:
            raise ConfigError(
                "SessionLogins.memberships",
                "is missing, and logins have tenants",
                "Pass the Memberships that the guard has.",
            )
        membership = None
        try:
            membership = await self._memberships.lookup(user_id, tenant_id)
        except (LoginRefusedError, UnavailableError):
            raise
        except Exception as failure:
            raise UnavailableError("memberships_unreachable") from failure
        if membership is None or not membership.active:
            refuse("account_no_member")


def _key(reference: str) -> str:
    return f"oidc:session:{reference}"
