"""APIKeyAuthenticator: an API key in a header becomes a principal."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import Final, NamedTuple

import anyio

from asgi_guard._internal.asgi import single_header
from asgi_guard.auth.api_keys.grants import AUTH_METHOD
from asgi_guard.auth.api_keys.service import APIKeyService
from asgi_guard.auth.socket_lease import Ticker
from asgi_guard.auth.token_sockets import SocketChecks
from asgi_guard.errors import AuthenticationError, ConfigError, RequestInvalidError
from asgi_guard.protocols import Principal, Scope
from asgi_guard.secret import Secret

__all__ = ["APIKeyAuthenticator"]

_BEARER: Final = b'Bearer error="invalid_token"'  # RFC 6750 section 3.1
_API_KEY: Final = b'ApiKey realm="api"'


class _Presented(NamedTuple):
    key: Secret
    challenge: bytes


class APIKeyAuthenticator:
    """Recognise API keys in a header of their own and in ``Authorization``.

    That is ``X-API-Key: KEY``, ``Authorization: ApiKey KEY`` and ``Authorization: Bearer KEY``,
    the last only if KEY begins with the app's name.

    Args:
        service: Knows the keys.
        header: Name of the header of its own; None reads ``Authorization`` alone.
        check_sockets_every: Seconds within which a WebSocket is closed whose key was revoked,
            besides those for which an answer of the store is believed. All sockets of one key
            share an answer.
        socket_ticker: Waits between these checks.

    Raises:
        ConfigError: The header is no header name, or the seconds are not above 0 to 60.

    Put it before an authenticator that takes every bearer token for its own. Refusals are counted
    by wrapping it in a `ThrottledAuthenticator`.
    """

    challenges: Final = (_API_KEY, b"Bearer")

    def __init__(
        self,
        service: APIKeyService,
        *,
        header: str | None = "X-API-Key",
        check_sockets_every: float = 1.5,
        socket_ticker: Ticker = anyio.sleep,
    ) -> None:
        if header is not None and not (header.isascii() and header.replace("-", "").isalnum()):
            raise ConfigError("header", f"{header!r} is no header name", "Write 'X-API-Key'.")
        self._service = service
        self._header = None if header is None else header.lower().encode()
        self._sockets = SocketChecks(every=check_sockets_every, ticker=socket_ticker)

    async def authenticate(self, scope: Scope) -> Principal | None:
        """Return whom the key acts for; None if the connection carries none.

        Raises:
            AuthenticationError: There is one and it opens nothing, or there are two. Whatever
                the reason, the caller reads the same.
            UnavailableError: The store does not answer.
        """
        presented = self._presented(scope)
        if presented is None:
            return None
        try:
            record = await self._service.judge(presented.key)
        except AuthenticationError as refusal:
            refusal.headers = ((b"www-authenticate", presented.challenge),)
            raise
        self._sockets.watch(scope, partial(self._service.check_again, record))
        return Principal(
            user_id=record.user_id,
            tenant_id=record.tenant_id,
            scopes=record.scopes,
            auth_method=AUTH_METHOD,
            issued_at=record.created_at,
            expires_at=record.expires_at,
            claims=MappingProxyType({"api_key_id": record.key_id}),
            details=MappingProxyType({"api_key_id": record.key_id}),
        )

    def _presented(self, scope: Scope) -> _Presented | None:
        own = None if self._header is None else _one(scope, self._header)
        authorization = _one(scope, b"authorization")
        found = None if authorization is None else self._from_authorization(authorization)
        if own is None:
            return found
        if found is not None:
            raise _refusal("two_api_keys", found.challenge)
        return _Presented(_text(own), _API_KEY)

    def _from_authorization(self, value: bytes) -> _Presented | None:
        scheme, _, rest = value.partition(b" ")
        key = _text(rest.strip(b" "))
        if scheme.lower() == b"apikey":
            return _Presented(key, _API_KEY)
        if scheme.lower() == b"bearer" and self._service.key_format.claims(key.reveal()):
            return _Presented(key, _BEARER)
        return None


def _one(scope: Scope, name: bytes) -> bytes | None:
    duplicated = ""
    try:
        return single_header(scope, name)
    except RequestInvalidError as ambiguous:
        duplicated = ambiguous.reason
    raise _refusal(duplicated, _BEARER if name == b"authorization" else _API_KEY)


def _text(value: bytes) -> Secret:
    return Secret(value.decode("latin-1"))


def _refusal(reason: str, challenge: bytes) -> AuthenticationError:
    return AuthenticationError(reason, headers=((b"www-authenticate", challenge),))
