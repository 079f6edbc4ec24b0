"""BearerJWTAuthenticator: a JWT in the Authorization header, one algorithm, one key."""

from __future__ import annotations

from typing import Any, Final

from asgi_guard._internal.asgi import single_header
from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.auth.claims import ClaimRules
from asgi_guard.auth.compact_jws import json_object, parse_compact_jws, refuse
from asgi_guard.auth.verification_key import VerificationKey
from asgi_guard.errors import RequestInvalidError
from asgi_guard.protocols import Clock, Principal, Scope

__all__ = ["BearerJWTAuthenticator"]

_SCHEME: Final = b"bearer"
_TYPES: Final = frozenset({"jwt", "at+jwt"})  # RFC 7519 section 5.1, RFC 9068 section 2.1


class BearerJWTAuthenticator:
    """Verify a bearer token (RFC 6750 section 2.1) that is a JWT (RFC 7519).

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
    required, ``crit`` is not understood, a token bound to a key (``cnf``) is no bearer token.
    Knows neither revocation nor rotation: it holds one key until the app is restarted.
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
        self._key = VerificationKey(key, algorithm=algorithm)
        self._rules = ClaimRules(
            issuer=issuer,
            audience=audience,
            leeway=leeway,
            tenant_claim=tenant_claim,
            roles_claim=roles_claim,
        )
        self._clock = clock

    async def authenticate(self, scope: Scope) -> Principal | None:
        """Return who the bearer token speaks for; None if the connection carries none.

        Raises:
            AuthenticationError: There is one, and it is not acceptable.
        """
        token = _bearer_token(scope)
        return None if token is None else self._verified(token)

    def _verified(self, token: bytes) -> Principal:
        jws = parse_compact_jws(token)
        header = jws.header
        if header.get("alg") != self._key.algorithm:
            refuse("algorithm_not_accepted")
        if "crit" in header or "b64" in header:  # RFC 7515 section 4.1.11, RFC 7797
            refuse("crit_not_understood")
        if not _is_accepted_type(header.get("typ")):
            refuse("type_not_accepted")
        if not self._key.verify(jws.signing_input, jws.signature):
            refuse("signature_invalid")
        return self._rules.principal(json_object(jws.payload), now=self._clock.now())


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


def _is_accepted_type(typ: object) -> bool:
    if typ is None:
        return True
    return isinstance(typ, str) and typ.lower().removeprefix("application/") in _TYPES
