"""ThrottledAuthenticator: any `Authenticator` behind a `Throttle`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from asgi_guard._internal.proxies import TrustedProxies
from asgi_guard._internal.request_id import request_id_of
from asgi_guard.auth.challenges import challenges_of
from asgi_guard.auth.throttle import Attempt, Throttle
from asgi_guard.errors import AuthenticationError, ConfigError, DPoPNonceError
from asgi_guard.protocols import Authenticator, Principal, Scope

__all__ = ["ThrottledAuthenticator"]

_CREDENTIAL_HEADERS: Final = ("authorization", "x-api-key")
# Subprotocols are the same for each client of an app: counted like a credential of its own,
# whoever is refused a few times would lock all of them out.
_SHARED_HEADERS: Final = ("cookie", "sec-websocket-protocol")
# The signature held, so nobody guessed: fifty browsers that wake up behind one address.
_NO_GUESS: Final = frozenset({"token_expired"})


class ThrottledAuthenticator:
    """Count the credentials that *inner* refuses, and refuse further ones for a while with 429.

    Counted are the client's address, the credential itself (one that was revoked and is tried
    from everywhere has the account's limit) and, if *tenant_of* says so, a tenant. Good
    credentials are not counted, but wait like all others while their address is over its limit.
    Requests that carry no credential pass.

    Args:
        inner: Decides.
        throttle: Counts; its address limit should allow for offices behind one address.
        trusted_proxies: Who may name the client's address.
        credential_headers: Headers that *inner* reads, and that hold nothing else.
        shared_headers: Headers that hold a credential among other things: counted for the
            address and tenant alone.
        tenant_of: Tells which tenant a request names, e.g. by its host. Anybody can use that
            tenant's limit up: keep it high.

    Raises:
        ConfigError: *inner* is no authenticator.
    """

    def __init__(
        self,
        inner: Authenticator,
        *,
        throttle: Throttle,
        trusted_proxies: TrustedProxies | None = None,
        credential_headers: Iterable[str] = _CREDENTIAL_HEADERS,
        shared_headers: Iterable[str] = _SHARED_HEADERS,
        tenant_of: Callable[[Scope], str | None] | None = None,
    ) -> None:
        if isinstance(inner, type) or not isinstance(inner, Authenticator):
            raise ConfigError("inner", f"{inner!r} has no authenticate(scope)", "Pass an instance.")
        self._inner = inner
        self._throttle = throttle
        self._proxies = trusted_proxies or TrustedProxies()
        self._headers = frozenset(name.lower().encode() for name in credential_headers)
        self._shared = frozenset(name.lower().encode() for name in shared_headers)
        self._tenant_of = tenant_of
        self.challenges = challenges_of(inner)
        # Read by the settings' checks, which must see through this wrapper.
        self.reads_cookies = bool(getattr(inner, "reads_cookies", False))

    async def authenticate(self, scope: Scope) -> Principal | None:
        """Return what *inner* returns.

        Raises:
            ThrottledError: Too many were refused: 429 with ``Retry-After``.
            AuthenticationError: *inner* refused this one.
            UnavailableError: Nobody can say now.
        """
        shown = [value for name, value in scope["headers"] if name in self._headers]
        if not shown and not any(name in self._shared for name, _ in scope["headers"]):
            return await self._inner.authenticate(scope)
        attempt = self._attempt(scope, shown)
        await self._throttle.ensure_open(attempt)
        try:
            return await self._inner.authenticate(scope)
        except DPoPNonceError:  # nobody's guess: the token was good, and the server's nonce is new
            raise
        except AuthenticationError as refusal:
            if refusal.reason not in _NO_GUESS:
                await self._throttle.count(attempt)
            raise

    def _attempt(self, scope: Scope, shown: list[bytes]) -> Attempt:
        return self._throttle.attempt(
            address=self._proxies.client_of(scope),
            # Counted under its hash.
            account=b"\n".join(shown).decode("latin-1") if shown else None,
            tenant=None if self._tenant_of is None else self._tenant_of(scope),
            request_id=request_id_of(scope),
        )
