"""DPoPAuthenticator: the access token and the proof of a request (RFC 9449 section 7)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Final

import anyio

from asgi_guard._internal.asgi import single_header
from asgi_guard.auth.announced import announce
from asgi_guard.auth.dpop.validator import DPoPValidator
from asgi_guard.auth.jose.dual_verifier import DualAlgorithmVerifier
from asgi_guard.auth.jose.refusal import without_frames
from asgi_guard.auth.jose.verified_token import VerifiedToken
from asgi_guard.auth.jose.verifier import TokenVerifier
from asgi_guard.auth.socket_lease import Ticker
from asgi_guard.auth.token_sockets import SocketChecks
from asgi_guard.errors import (
    AuthenticationError,
    ConfigError,
    DPoPProofError,
    RequestInvalidError,
)
from asgi_guard.protocols import Principal, Scope

__all__ = ["DPoPAuthenticator"]

_SCHEME: Final = b"dpop"
_THUMBPRINT: Final = 43  # characters of a SHA-256 in base64url
_CHALLENGE: Final = b"www-authenticate"


class DPoPAuthenticator:
    """Take the access token of a connection, and the proof that goes with it, to their judges.

    Args:
        verifier: Of the token; its policy has the type ``access``.
        validator: Of the proof.
        check_sockets_every: As of a `BearerAuthenticator`.
        socket_ticker: As of a `BearerAuthenticator`.

    Raises:
        ConfigError: One of them is something else.

    Reads ``Authorization: DPoP <token>`` and ``DPoP: <proof>`` of HTTP requests and WebSocket
    handshakes. The order is: the token, the proof, that they belong together, and only then that
    the proof was not used before. For an app that takes bearer tokens as well, give the
    middleware a `BearerAuthenticator` beside this one: it refuses tokens that are bound to a key,
    as this one refuses those that are not.
    """

    def __init__(
        self,
        verifier: TokenVerifier | DualAlgorithmVerifier,
        *,
        validator: DPoPValidator,
        check_sockets_every: float = 10.0,
        socket_ticker: Ticker = anyio.sleep,
    ) -> None:
        known = isinstance(verifier, TokenVerifier | DualAlgorithmVerifier)
        if not known or "access" not in verifier.policy.types:
            raise ConfigError("verifier", "verifies no access tokens", "Pass a TokenVerifier.")
        if not isinstance(validator, DPoPValidator):
            raise ConfigError("validator", "is no DPoPValidator", "Pass one.")
        self._verifier = verifier
        self._validator = validator
        self._sockets = SocketChecks(every=check_sockets_every, ticker=socket_ticker)
        self._challenge = b'DPoP algs="%b"' % validator.policy.names.encode()

    @property
    def challenges(self) -> tuple[bytes, ...]:
        """``DPoP`` with the algorithms that proofs may have (RFC 9449 section 7.1)."""
        return (self._challenge,)

    async def authenticate(self, scope: Scope) -> Principal | None:
        """Return who the token speaks for; None if the connection carries none of this scheme.

        Raises:
            AuthenticationError: The token is not acceptable, or is bound to no key.
            DPoPProofError: The proof is not, or was used before.
            UnavailableError: The keys, or the memory of used proofs, cannot be had now.
        """
        token = _dpop_token(scope)
        if token is None:
            return None
        judged = self._judged(scope, token)
        del token  # error trackers record locals
        return await without_frames(judged)

    async def _judged(self, scope: Scope, token: bytes) -> Principal:
        try:
            return await self._identify(scope, token)
        except DPoPProofError as refusal:
            refusal.headers = (self._line(refusal.code), *refusal.headers)
            raise
        except AuthenticationError as refusal:
            refusal.headers = (self._line("invalid_token"),)
            raise

    async def _identify(self, scope: Scope, token: bytes) -> Principal:
        if not token:
            raise AuthenticationError("token_malformed")
        verified = await self._verifier.verify(token)
        try:
            proof = self._validator.inspect(
                scope, access_token=token, bound_to=_confirmation(verified)
            )
            await self._validator.spend(proof)
        except AuthenticationError as refusal:
            refusal.details = verified.details
            raise
        nonce = self._validator.next_nonce(proof)
        if nonce is not None:
            # Section 8.2: a nonce that a cache hands out later is stale.
            announce(scope, (b"dpop-nonce", nonce.encode()), (b"cache-control", b"no-store"))
        self._sockets.watch(scope, partial(self._verifier.check_again, verified))
        return replace(_principal(verified), auth_method="dpop")

    def _line(self, error: str) -> tuple[bytes, bytes]:
        return _CHALLENGE, b'DPoP error="%b", %b' % (error.encode(), self._challenge[5:])


def _dpop_token(scope: Scope) -> bytes | None:
    duplicated, value = False, None
    try:
        value = single_header(scope, b"authorization")
    except RequestInvalidError:
        duplicated = True
    if duplicated:
        raise AuthenticationError("duplicate_authorization")
    if value is None:
        return None
    scheme, _, token = value.partition(b" ")
    return token.strip(b" ") if scheme.lower() == _SCHEME else None


def _confirmation(verified: VerifiedToken) -> str:
    """Return the thumbprint that *verified* is bound to (RFC 9449 section 6.1)."""
    found: Any = verified.claims.get("cnf")
    if found is None:
        raise AuthenticationError("token_not_bound")
    # A token that asks for another confirmation besides would be taken on half of its conditions.
    if not hasattr(found, "keys") or set(found) != {"jkt"}:
        raise AuthenticationError("confirmation_not_understood")
    thumbprint = found["jkt"]
    if not isinstance(thumbprint, str) or len(thumbprint) != _THUMBPRINT:
        raise AuthenticationError("confirmation_not_understood")
    return thumbprint


def _principal(verified: VerifiedToken) -> Principal:
    if verified.principal is None:
        raise AuthenticationError("token_not_for_access")
    return verified.principal
