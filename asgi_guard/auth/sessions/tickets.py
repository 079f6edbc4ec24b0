"""WebSocketTickets: signed in over HTTP, a page fetches a ticket that opens one WebSocket.

A ticket is 256 random bits, good for 30 seconds and one handshake. It is bound to the principal
that fetched it, to that principal's session, and to the page's origin. It is not the session: who
finds one in a log finds nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from asgi_guard._internal.asgi import single_header
from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.principal import principal_of
from asgi_guard._internal.request_id import request_id_of
from asgi_guard._internal.responses import problem_body
from asgi_guard.auth.jose.strict_json import frozen, strict_object
from asgi_guard.auth.sessions.identifiers import new_sid, session_id_of
from asgi_guard.auth.sessions.offers import take_from_query, take_offered
from asgi_guard.auth.sessions.record import thawed
from asgi_guard.auth.sessions.reporting import reported
from asgi_guard.auth.sessions.service import SessionService
from asgi_guard.auth.sessions.session import AUTH_METHOD
from asgi_guard.auth.sessions.sockets import watch_session
from asgi_guard.auth.socket_lease import Ticker, lease_of
from asgi_guard.auth.token_sockets import SocketChecks
from asgi_guard.errors import (
    AuthenticationError,
    ConfigError,
    RejectionError,
    RequestInvalidError,
    UnavailableError,
)
from asgi_guard.protocols import Clock, KeyValueStore, Principal, Scope
from asgi_guard.secret import Secret

if TYPE_CHECKING:
    from asgi_guard.auth.jose.revocations import TokenRevocations

__all__ = ["TicketAuthenticator", "WebSocketTicket", "WebSocketTickets"]

_NAME: Final = "ticket"
_OF_TOKENS: Final = frozenset({"bearer", "dpop"})
_LONGEST: Final = 60.0
_MOST_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketTicket:
    """A ticket, shown once.

    Args:
        ticket: For ``new WebSocket(url, ["ticket", ticket])``.
        expires_in: Seconds.
    """

    ticket: Secret
    expires_in: float


class WebSocketTickets:
    """Issues and redeems tickets.

    Args:
        store: Where they wait; the same for all processes.
        sessions: Knows the sessions of principals that have one; the ticket of a session that
            has ended opens nothing.
        revocations: Of the tokens with which tickets are fetched, if they can be revoked: a
            ticket, and the socket that it opened, then end with the token.
        expires_in: Seconds; at most 60.
        check_sockets_every: Seconds within which the socket of a revoked token is closed,
            besides those for which *revocations* believe an answer.
        socket_ticker: Waits between these checks.
        clock: Where "now" comes from.

    Raises:
        ConfigError: A number is out of range, or *revocations* are something else.
    """

    def __init__(
        self,
        store: KeyValueStore,
        *,
        sessions: SessionService | None = None,
        revocations: TokenRevocations | None = None,
        expires_in: float = 30.0,
        check_sockets_every: float = 10.0,
        socket_ticker: Ticker = anyio.sleep,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not 0 < expires_in <= _LONGEST:
            raise ConfigError("WebSocketTickets.expires_in", f"is {expires_in}", "Pass 1 to 60.")
        if revocations is not None and not callable(getattr(revocations, "check_claims", None)):
            raise ConfigError("revocations", "are none", "Pass TokenRevocations, or None.")
        self._store = store
        self._sessions = sessions
        self._revocations = revocations
        self._sockets = SocketChecks(every=check_sockets_every, ticker=socket_ticker)
        self._expires_in = expires_in
        self._clock = clock

    async def issue(self, scope: Scope) -> WebSocketTicket:
        """Return a ticket for whoever is signed in on the HTTP request *scope*.

        Raises:
            AuthenticationError: Nobody is.
            ConfigError: It is a session, and there are no *sessions* to look it up in.
            RequestInvalidError: The principal's claims are too large to wait in the store.
            UnavailableError: The store does not answer.
        """
        principal = principal_of(scope)
        if principal is None:
            raise AuthenticationError("ticket_for_nobody")
        if principal.auth_method == AUTH_METHOD and self._sessions is None:
            raise ConfigError("WebSocketTickets.sessions", "is missing", "Pass the SessionService.")
        ticket = new_sid()
        origin = single_header(scope, b"origin")
        value = _encode(principal, origin, self._clock.now() + self._expires_in)
        user_id, tenant_id = principal.user_id, principal.tenant_id
        with reported("SOCKET_TICKET_ISSUED", user_id=user_id, tenant_id=tenant_id):
            await self._store.put(_key(ticket), value, ttl=self._expires_in)
        return WebSocketTicket(ticket=ticket, expires_in=self._expires_in)

    async def endpoint(self, request: Request) -> Response:
        """Answer ``POST`` with 201 and a ticket: a route for Starlette and FastAPI."""
        if request.method != "POST":  # a GET may come from any page, and is not checked for that
            return Response(status_code=405, headers={"allow": "POST", **_NO_STORE})
        try:
            issued = await self.issue(request.scope)
        except (RejectionError, UnavailableError) as refusal:
            status, body = problem_body(refusal, request_id_of(request.scope))
            return Response(body, status, _NO_STORE, "application/problem+json")
        body_of = {"ticket": issued.ticket.reveal(), "expires_in": issued.expires_in}
        return JSONResponse(body_of, 201, _NO_STORE)

    async def redeem(self, ticket: Secret, scope: Scope) -> Principal:
        """Take *ticket*, whatever comes of it, and return the principal of the handshake *scope*.

        Raises:
            AuthenticationError: It is unknown, used or late, or it was issued to a page of
                another origin, or its session has ended.
            UnavailableError: The store does not answer.
        """
        known = session_id_of(ticket) is not None
        raw = await self._store.take(_key(ticket)) if known else None
        waiting = {} if raw is None else strict_object(raw) or {}
        if not waiting:
            raise AuthenticationError("ticket_unknown")
        origin = single_header(scope, b"origin")
        if waiting["origin"] != (None if origin is None else origin.decode("latin-1")):
            raise AuthenticationError("ticket_of_another_origin")
        if self._clock.now() >= waiting["ends"]:
            raise AuthenticationError("ticket_late")
        principal = _principal(waiting["principal"])
        if principal.auth_method != AUTH_METHOD:
            return await self._of_credential(principal, scope)
        return await self._of_session(principal, scope)

    async def _of_credential(self, principal: Principal, scope: Scope) -> Principal:
        await self._check_again(principal)
        self._sockets.watch(scope, partial(self._check_again, principal))
        return principal

    async def _check_again(self, principal: Principal) -> None:
        if principal.expires_at is not None and self._clock.now() >= principal.expires_at:
            raise AuthenticationError("ticket_credential_expired")
        if self._revocations is not None and principal.auth_method in _OF_TOKENS:
            await self._revocations.check_claims(principal.claims)

    async def _of_session(self, principal: Principal, scope: Scope) -> Principal:
        if self._sessions is None or principal.session_id is None:
            raise UnavailableError("ticket_sessions_missing")
        session = await self._sessions.check(principal.session_id, used=True)
        watch_session(scope, self._sessions, session)
        return session.principal()


class TicketAuthenticator:
    """Recognise tickets in WebSocket handshakes: ``new WebSocket(url, ["ticket", ticket])``.

    Args:
        tickets: Issued them.
        insecure_ticket_in_query: Also take ``?ticket=``. Servers and proxies write it down; it
            is used up by then, unless the handshake never arrived.
    """

    def __init__(
        self, tickets: WebSocketTickets, *, insecure_ticket_in_query: bool = False
    ) -> None:
        self._tickets = tickets
        self._in_query = insecure_ticket_in_query

    async def authenticate(self, scope: Scope) -> Principal | None:
        """Return whose ticket it is; None if there is none.

        Raises:
            AuthenticationError: There is one and it opens nothing, or there are two.
            UnavailableError: The store does not answer.
        """
        if scope["type"] != "websocket":
            return None
        ticket = take_offered(scope, _NAME)
        echo = None if ticket is None else _NAME
        if self._in_query:
            queried = take_from_query(scope, _NAME)
            if ticket is not None and queried is not None:
                raise AuthenticationError("two_credentials")
            ticket = ticket or queried
        if ticket is None:
            return None
        principal = await self._tickets.redeem(ticket, scope)
        lease_of(scope).echo = echo
        return principal


_NO_STORE: Final = {"cache-control": "no-store"}
_FIELDS: Final = ("user_id", "tenant_id", "auth_method", "session_id", "issued_at", "expires_at")


def _key(ticket: Secret) -> str:
    return f"socket-ticket:{session_id_of(ticket)}"


def _encode(principal: Principal, origin: bytes | None, ends: float) -> bytes:
    plain: dict[str, Any] = {name: getattr(principal, name) for name in _FIELDS}
    plain |= {"roles": sorted(principal.roles), "scopes": sorted(principal.scopes)}
    plain["claims"], plain["details"] = thawed(principal.claims), dict(principal.details)
    shown = None if origin is None else origin.decode("latin-1")
    try:
        raw = json.dumps({"principal": plain, "origin": shown, "ends": ends}).encode()
    except (TypeError, ValueError) as failure:
        raise ConfigError(
            "Principal.claims", f"are no JSON: {type(failure).__name__}", "Keep JSON values there."
        ) from None
    if len(raw) > _MOST_BYTES:
        raise RequestInvalidError("ticket_too_large")
    return raw


def _principal(plain: dict[str, Any]) -> Principal:
    frozen_parts = {name: frozen(plain[name]) for name in ("claims", "details")}
    words = {name: frozenset(plain[name]) for name in ("roles", "scopes")}
    return Principal(**{**plain, **frozen_parts, **words})
