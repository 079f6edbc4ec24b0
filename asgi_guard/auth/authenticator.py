"""Bearer tokens (RFC 6750 section 2.1): which principal the Authorization header proves."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import anyio

from asgi_guard._internal.asgi import single_header
from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.auth.jose.dual_verifier import DualAlgorithmVerifier
from asgi_guard.auth.jose.key_source import PinnedKey
from asgi_guard.auth.jose.policy import JwtPolicy
from asgi_guard.auth.jose.refusal import refuse
from asgi_guard.auth.jose.verification_key import VerificationKey
from asgi_guard.auth.jose.verifier import TokenVerifier
from asgi_guard.auth.socket_lease import Ticker
from asgi_guard.auth.token_sockets import SocketChecks
from asgi_guard.errors import ConfigError, RequestInvalidError
from asgi_guard.protocols import Clock, Principal, Scope

__all__ = ["BearerAuthenticator", "BearerJWTAuthenticator"]

_SCHEME: Final = b"bearer"
_CACHED: Final = 1024
_LONGEST_LEEWAY: Final = 300


class BearerAuthenticator:
    """Take the access token of a connection to a verifier.

    Args:
        verifier: Whose policy has the type ``access``.
        check_sockets_every: Seconds within which a WebSocket is closed whose token was revoked
            or has expired, or whose key was taken away; besides those for which the verifier's
            revocations believe an answer.
        socket_ticker: Waits between these checks.

    Raises:
        ConfigError: It has not, or the seconds are not above 0 to 60.
    """

    challenges: Final = (b"Bearer",)

    def __init__(
        self,
        verifier: TokenVerifier | DualAlgorithmVerifier,
        *,
        check_sockets_every: float = 10.0,
        socket_ticker: Ticker = anyio.sleep,
    ) -> None:
        known = isinstance(verifier, TokenVerifier | DualAlgorithmVerifier)
        if not known or "access" not in verifier.policy.types:
            raise ConfigError("verifier", "verifies no access tokens", "Pass a TokenVerifier.")
        self._verifier = verifier
        self._sockets = SocketChecks(every=check_sockets_every, ticker=socket_ticker)

    async def authenticate(self, scope: Scope) -> Principal | None:
        """Return who the bearer token speaks for; None if the connection carries none.

        Raises:
            AuthenticationError: There is one, and it is not acceptable; one that is bound to a
                key (``cnf``) is no bearer token (RFC 9449 section 7.2).
            UnavailableError: The keys cannot be had now.
        """
        token = _bearer_token(scope)
        if token is None:
            return None
        judged = self._verifier.verify(token)
        del token  # error trackers record locals
        verified = await judged
        if verified.is_bound:
            refuse("token_bound_to_a_key", verified.details)
        self._sockets.watch(scope, partial(self._verifier.check_again, verified))
        return verified.principal


class BearerJWTAuthenticator(BearerAuthenticator):
    """Verify bearer tokens of an issuer whose one key is known: one algorithm, one key.

    Args:
        key: The public key (PEM, or a ``cryptography`` object); for ``HS*`` the secret. Parsed
            once, here.
        algorithm: The one accepted ``alg``; what the token says is compared, never followed.
        issuer: The one accepted ``iss``.
        audience: Who we are; ``aud`` must name it.
        leeway: Seconds of clock skew that are forgiven, 0 to 300.
        tenant_claim: Claim that binds the credential to a tenant; optional in a token.
        roles_claim: Claim with a list of roles; optional in a token.
        clock: Where "now" comes from.

    Raises:
        ConfigError: The key is weak, or not of the algorithm's kind; a name is empty.

    Refuses, whatever the bytes, with `AuthenticationError` alone: ``exp`` and ``sub`` are
    required, ``crit`` is not understood, a key that the token brings along is not used, a token
    bound to a key (``cnf``) is no bearer token.

    Takes tokens of any lifetime, typed ``at+jwt``, ``JWT`` or not at all, for not every issuer
    writes RFC 9068; and holds one key until the app is restarted. A `TokenVerifier` with a
    `JwtPolicy`, in a `BearerAuthenticator`, is stricter and follows rotation.
    """

    def __init__(
        self,
        *,
        key: Any,
        issuer: str,
        audience: str,
        algorithm: str = "RS256",
        leeway: float = 30.0,
        tenant_claim: str = "tenant_id",
        roles_claim: str = "roles",
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not 0 <= leeway <= _LONGEST_LEEWAY:
            raise ConfigError("leeway", f"is {leeway!r}", "Pass 0 to 300 seconds.")
        pinned = VerificationKey(key, algorithm=algorithm)
        policy = JwtPolicy(
            issuer=issuer,
            audience=audience,
            algorithms=(algorithm,),
            skew=leeway,
            required_claims=("sub",),
            tenant_claim=tenant_claim,
            roles_claim=roles_claim,
            insecure_untyped_access=True,
            insecure_any_lifetime=True,
        )
        keys = PinnedKey(pinned)
        super().__init__(TokenVerifier(policy, keys=keys, cache_size=_CACHED, clock=clock))


def _bearer_token(scope: Scope) -> bytes | None:
    duplicated, value = False, None
    try:
        value = single_header(scope, b"authorization")
    except RequestInvalidError:
        duplicated = True
    if duplicated:
        refuse("duplicate_authorization")
    if value is None:
        return None
    scheme, _, token = value.partition(b" ")
    return token.strip(b" ") if scheme.lower() == _SCHEME else None
