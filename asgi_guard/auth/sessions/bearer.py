"""WebSocketBearer: a bearer token that arrives as a subprotocol, for any bearer authenticator."""

from __future__ import annotations

from asgi_guard._internal.asgi import single_header
from asgi_guard.auth.challenges import challenges_of
from asgi_guard.auth.sessions.offers import take_from_query, take_offered
from asgi_guard.auth.socket_lease import lease_of, take_lease
from asgi_guard.errors import AuthenticationError, ConfigError
from asgi_guard.protocols import Authenticator, Principal, Scope
from asgi_guard.secret import Secret

__all__ = ["WebSocketBearer"]

_NAME = "bearer"


class WebSocketBearer:
    """Let browsers sign a WebSocket in with a bearer token: ``new WebSocket(url, ["bearer", t])``.

    *inner* decides as if the token had come in ``Authorization: Bearer``; what it reads from
    there on HTTP requests it may read here. Offer the app's own subprotocols after the token. The
    socket of a token ends when the token does.

    Args:
        inner: Authenticates bearer tokens, e.g. a `BearerAuthenticator`.
        insecure_token_in_query: Also take ``?access_token=``, which servers, proxies and
            histories write down.

    Raises:
        ConfigError: *inner* is no authenticator.

    Handshakes with an ``Authorization`` header are left to *inner* itself: list it as well.
    """

    def __init__(self, inner: Authenticator, *, insecure_token_in_query: bool = False) -> None:
        if isinstance(inner, type) or not isinstance(inner, Authenticator):
            raise ConfigError("inner", f"{inner!r} has no authenticate(scope)", "Pass an instance.")
        self._inner = inner
        self._in_query = insecure_token_in_query
        self.challenges = challenges_of(inner)

    async def authenticate(self, scope: Scope) -> Principal | None:
        """Return who the offered token speaks for; None if none is offered.

        Raises:
            AuthenticationError: It is not acceptable, or there is an ``Authorization`` as well.
            UnavailableError: *inner* cannot decide now.
        """
        if scope["type"] != "websocket":
            return None
        token = take_offered(scope, _NAME)
        echo = None if token is None else _NAME
        if self._in_query:
            queried = take_from_query(scope, "access_token")
            if token is not None and queried is not None:
                raise AuthenticationError("two_credentials")
            token = token or queried
        if token is None:
            return None
        return await self._ask(token, scope, echo=echo)

    async def _ask(self, token: Secret, scope: Scope, *, echo: str | None) -> Principal:
        if single_header(scope, b"authorization") is not None:
            raise AuthenticationError("two_credentials")
        line = (b"authorization", b"Bearer " + token.reveal().encode("latin-1", "replace"))
        asked = {**scope, "headers": [*scope["headers"], line]}
        del line  # error trackers record locals
        try:
            principal = await self._inner.authenticate(asked)
            lease = take_lease(asked)
        finally:
            del asked
        if principal is None:
            raise AuthenticationError("token_not_recognised")
        mine = lease_of(scope)
        mine.echo = echo
        if lease is not None:
            mine.check, mine.subscribe = lease.check, lease.subscribe
            mine.every, mine.ticker = lease.every, lease.ticker
            mine.expires_at, mine.clock = lease.expires_at, lease.clock
        return principal
