"""Signing in: a token in a cookie for browsers, the same token as a bearer for programs.

The demo issues its own tokens with a key that lives as long as the process. There is no password:
everybody may be anybody, and still nobody reaches the other tenant.
"""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.auth import BearerJWTAuthenticator
from asgi_guard.errors import AuthenticationError
from asgi_guard.protocols import Principal, Scope

from .people import SCOPES, Person

COOKIE = "demo_session"
LIFETIME_SECONDS = 3600
_ISSUER, _AUDIENCE, _ALGORITHM = "https://demo.invalid", "asgi-guard-demo", "ES256"


class DemoIdentity:
    """Issues tokens, and is the `Authenticator` that believes them."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._bearer = BearerJWTAuthenticator(
            key=self._key.public_key(), algorithm=_ALGORITHM, issuer=_ISSUER, audience=_AUDIENCE
        )

    def token_for(self, person: Person) -> str:
        """Return a token for *person*, bound to the tenant they are a member of."""
        now = int(SYSTEM_CLOCK.now())
        claims = {
            "iss": _ISSUER,
            "aud": _AUDIENCE,
            "sub": person.user,
            "tenant_id": person.tenant.id,
            "scope": " ".join(SCOPES[person.role]),
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
        }
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)

    async def authenticate(self, scope: Scope) -> Principal | None:
        """Return who the bearer token or, without one, the cookie speaks for.

        A cookie that is not acceptable counts as none: browsers send it unasked, and the key that
        it was signed with ends with the demo. Else one left by an earlier run would close the
        very page where one signs in.

        Raises:
            AuthenticationError: There is a bearer token, and it is not acceptable.
        """
        principal = await self._bearer.authenticate(scope)
        token = None if principal else _cookie(scope)
        if token is None:
            return principal
        bearer = {**scope, "headers": [(b"authorization", f"Bearer {token}".encode())]}
        try:
            return await self._bearer.authenticate(bearer)
        except AuthenticationError:
            return None


def _cookie(scope: Scope) -> str | None:
    """Return the session cookie's value, if there is exactly one Cookie header to read it from."""
    lines = [value for name, value in scope["headers"] if name == b"cookie"]
    if len(lines) != 1:
        return None
    try:
        morsel = SimpleCookie(lines[0].decode("latin-1")).get(COOKIE)
    except CookieError:
        return None
    return morsel.value if morsel else None
