"""PasswordLogin: no password is checked without being counted."""

from __future__ import annotations

from asgi_guard._internal.proxies import TrustedProxies
from asgi_guard._internal.request_id import request_id_of
from asgi_guard.auth.passwords.hasher import PasswordHasher, Replace
from asgi_guard.auth.passwords.rules import as_secret
from asgi_guard.auth.throttle import Throttle
from asgi_guard.protocols import Scope
from asgi_guard.secret import Secret

__all__ = ["PasswordLogin"]


class PasswordLogin:
    """A `PasswordHasher` behind a `Throttle`.

    Args:
        hasher: Verifies.
        throttle: Counts.
        trusted_proxies: Who may name the client's address; inside a `Guard`, its own are asked.
    """

    def __init__(
        self,
        hasher: PasswordHasher,
        *,
        throttle: Throttle,
        trusted_proxies: TrustedProxies | None = None,
    ) -> None:
        self._hasher = hasher
        self._throttle = throttle
        self._proxies = trusted_proxies or TrustedProxies()

    async def verify(
        self,
        stored: str | None,
        password: str | Secret,
        *,
        account: str,
        scope: Scope | None = None,
        address: str | None = None,
        tenant: str | None = None,
        replace: Replace | None = None,
        user_id: str | None = None,
        request_id: str | None = None,
    ) -> bool:
        """Tell whether *password* is right, unless there were too many wrong ones.

        Args:
            stored: As for `PasswordHasher.verify`; None for an unknown user, who is counted too.
            password: As it was typed.
            account: What was typed as the user's name.
            scope: Of the request, ``request.scope``: says the client's address, as the trusted
                proxies know it, and the request's id.
            address: Instead of *scope*, where there is no request: the client's address.
            tenant: The tenant that is being logged in to.
            replace: As for `PasswordHasher.verify`.
            user_id: As for `PasswordHasher.verify`.
            request_id: For the events.

        Raises:
            ThrottledError: Too many were wrong: 429 with ``Retry-After``. Nothing was hashed.
            UnavailableError: It cannot be said now; the attempt does not count.
        """
        password = as_secret(password)
        row = None if stored is None else Secret(stored)
        del stored  # as in PasswordHasher.verify
        if scope is not None:
            address = self._proxies.client_of(scope)
            request_id = request_id or request_id_of(scope)
        attempt = self._throttle.attempt(
            address=address, account=account, tenant=tenant, request_id=request_id
        )
        async with attempt:
            same = await self._hasher.verify(
                None if row is None else row.reveal(),
                password,
                replace=replace,
                user_id=user_id,
                client=address,
                request_id=request_id,
            )
            if same:
                attempt.succeeded()
        return same
