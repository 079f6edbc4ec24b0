"""SessionAuthenticator: the session cookie becomes a principal."""

from __future__ import annotations

from typing import Final

from asgi_guard._internal.asgi import client_of, single_header
from asgi_guard._internal.guard_marks import CROSS_ORIGIN
from asgi_guard._internal.request_id import request_id_of
from asgi_guard.auth.sessions.cookie import SessionCookie
from asgi_guard.auth.sessions.service import SessionService
from asgi_guard.auth.sessions.session import Session
from asgi_guard.auth.sessions.sockets import watch_session
from asgi_guard.errors import AuthenticationError, ConfigError, UnavailableError
from asgi_guard.protocols import Principal, Scope
from asgi_guard.secret import Secret

__all__ = ["SessionAuthenticator"]

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})  # RFC 9110 section 9.2.1, without TRACE


class SessionAuthenticator:
    """Recognise the session cookie of HTTP requests and WebSocket handshakes.

    A browser sends cookies with whatever any page causes. So a cookie counts for an unsafe
    method, or for a WebSocket, only where `CrossOriginMiddleware` has let the connection pass;
    `Guard` always has one. Where its policy exempts a path, the cookie of such a connection is
    not looked at. A handshake must name its ``Origin`` besides.

    Args:
        sessions: Knows the sessions.
        cookie: Which cookie.
        refuse_ended: Answer 401 to a cookie whose session has ended, on public paths as well.
            By default whoever brings one is nobody, so that the login stays open to a browser
            that still has it; every path that is not public answers nobody with 401.
        insecure_any_origin: Believe the cookie without a cross-origin check: every page of the
            world can then act for its visitors.

    Raises:
        ConfigError: *sessions* is no `SessionService`.

    It never takes a cookie away: a request that was on its way during a login would then take
    the new one.
    """

    reads_cookies = True
    """What makes `settings.checks` look at the cross-origin policy."""

    def __init__(
        self,
        sessions: SessionService,
        *,
        cookie: SessionCookie | None = None,
        refuse_ended: bool = False,
        insecure_any_origin: bool = False,
    ) -> None:
        if not isinstance(sessions, SessionService):
            raise ConfigError("sessions", f"is {sessions!r}", "Pass a SessionService.")
        self._sessions = sessions
        self._cookie = cookie or SessionCookie()
        self._refuse_ended = refuse_ended
        self._any_origin = insecure_any_origin
        self.challenges = (f'Cookie cookie-name="{self._cookie.name}"'.encode(),)

    async def authenticate(self, scope: Scope) -> Principal | None:
        """Return whose session the cookie opens; None if there is no such cookie.

        Raises:
            AuthenticationError: There are two, it is no sid, or *refuse_ended* says so.
            UnavailableError: The store does not answer, or nobody has checked the origin.
        """
        sid = self._cookie.read(scope)
        if sid is None or not self._origin_checked(scope):
            return None
        session = await self._session(sid, scope)
        if session is None:
            return None
        if scope["type"] == "websocket":
            watch_session(scope, self._sessions, session)
        return session.principal()

    async def _session(self, sid: Secret, scope: Scope) -> Session | None:
        if self._refuse_ended:
            return await self._sessions.judge(sid)
        try:
            return await self._sessions.validate(
                sid, client=client_of(scope), request_id=request_id_of(scope)
            )
        except AuthenticationError:  # it has left its event
            return None

    def _origin_checked(self, scope: Scope) -> bool:
        if self._any_origin or scope.get("method") in _SAFE:
            return True
        checked = scope.get(CROSS_ORIGIN)
        if checked is None:
            # The operator's to mend: without the check any page could act for its visitors.
            raise UnavailableError("cross_origin_check_missing")
        if scope["type"] == "websocket" and single_header(scope, b"origin") is None:
            return False
        return bool(checked)
