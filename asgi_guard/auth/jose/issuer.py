"""TokenIssuer: tokens that a verifier of the same policy accepts, and no others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.events import emit
from asgi_guard._internal.pools import BoundedPool
from asgi_guard.auth.jose.base64url import b64url_encode
from asgi_guard.auth.jose.claims import LOGOUT_EVENT
from asgi_guard.auth.jose.issued_token import IssuedToken, signing_input
from asgi_guard.auth.jose.key_source import SigningKeySource
from asgi_guard.auth.jose.payloads import Payloads
from asgi_guard.auth.jose.policy import TOKEN_TYPES, JwtPolicy
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Clock
from asgi_guard.secret import Secret

__all__ = ["IssuedToken", "TokenIssuer"]

_TYP: Final = {**TOKEN_TYPES, "id": "JWT"}  # as it is usually written
_SIGNERS: Final = BoundedPool("jose-sign", workers=1, queue=256, full="signers_busy")


class TokenIssuer:
    """Make tokens under one policy.

    Args:
        policy: What the tokens must be; the verifiers hold the same.
        keys: A `KeyManager`, or anything else with `SigningKeySource`'s methods.
        clock: Where "now" comes from.

    Raises:
        ConfigError: *keys* retires a key before the tokens it signed have expired.

    Signing runs in a thread: RSA-4096 takes milliseconds. Each token leaves one event
    ``TOKEN_ISSUED`` with its type, kid and the hash of its ``jti``.
    """

    def __init__(
        self, policy: JwtPolicy, *, keys: SigningKeySource, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        if keys.grace < policy.longest_lifetime:
            raise ConfigError(
                "keys.grace",
                f"is {keys.grace:g} s, and a token lives {policy.longest_lifetime:g} s",
                "A rotation would log its owner out. Raise longest_token of the KeyManager.",
            )
        self.policy = policy
        self._keys = keys
        self._clock = clock
        self._payloads = Payloads(policy, clock=clock)

    async def issue_access(
        self,
        subject: str,
        *,
        client_id: str,
        tenant_id: str | None = None,
        session_id: str | None = None,
        roles: Iterable[str] = (),
        scopes: Iterable[str] = (),
        lifetime: int | None = None,
        claims: Mapping[str, Any] | None = None,
    ) -> IssuedToken:
        """Make an access token (RFC 9068 section 2).

        Args:
            subject: Stable id of the user.
            client_id: The OAuth client it is for.
            tenant_id: Tenant it is bound to.
            session_id: Server-side session behind it.
            roles: Roles that it grants.
            scopes: OAuth scopes that it grants.
            lifetime: Seconds; no more than the policy's, which is the default.
            claims: Further claims, e.g. ``cnf``.

        Raises:
            ConfigError: The policy would refuse the token.
            UnavailableError: Too many tokens wait to be signed, or there is no key.
        """
        known: dict[str, Any] = {
            "client_id": client_id,
            self.policy.tenant_claim: tenant_id,
            "sid": session_id,
            self.policy.roles_claim: sorted(set(roles)) or None,
            "scope": " ".join(sorted(set(scopes))) or None,
        }
        return await self._issue("access", subject, known, claims, lifetime)

    async def issue_id(
        self,
        subject: str,
        *,
        session_id: str | None = None,
        nonce: str | None = None,
        lifetime: int | None = None,
        claims: Mapping[str, Any] | None = None,
    ) -> IssuedToken:
        """Make an ID token (OpenID Connect Core 1.0 section 2); the audience is the client.

        Raises:
            ConfigError: The policy would refuse the token.
            UnavailableError: Too many tokens wait to be signed, or there is no key.
        """
        known = {"sid": session_id, "nonce": nonce}
        return await self._issue("id", subject, known, claims, lifetime)

    async def issue_refresh(
        self,
        subject: str,
        *,
        family: str,
        lifetime: int | None = None,
        claims: Mapping[str, Any] | None = None,
    ) -> IssuedToken:
        """Make a refresh token of one *family*: all that descend from one login.

        Does not remember it: whether it was used already is for whoever keeps the family.

        Raises:
            ConfigError: The policy would refuse the token.
            UnavailableError: Too many tokens wait to be signed, or there is no key.
        """
        return await self._issue("refresh", subject, {"fam": family}, claims, lifetime)

    async def issue_logout(
        self,
        *,
        subject: str | None = None,
        session_id: str | None = None,
        lifetime: int | None = None,
        claims: Mapping[str, Any] | None = None,
    ) -> IssuedToken:
        """Make a logout token (OpenID Connect Back-Channel Logout 1.0 section 2.4).

        Args:
            subject: Whose sessions end; may be left out if *session_id* is given.
            session_id: Which session ends; may be left out if *subject* is given: then all do.
            lifetime: Seconds; no more than the policy's, which is the default.
            claims: Further claims; a ``nonce`` is refused, for it would make it an ID token.

        Raises:
            ConfigError: The policy would refuse the token.
            UnavailableError: Too many tokens wait to be signed, or there is no key.
        """
        known: dict[str, Any] = {"sid": session_id, "events": {LOGOUT_EVENT: {}}}
        return await self._issue("logout", subject, known, claims, lifetime)

    async def sign_refresh(
        self, subject: str, *, family: str, jti: str, issued_at: int, expires_at: int
    ) -> IssuedToken:
        """Make the refresh token that is described, and leave the event to the caller.

        For `asgi_guard.auth.refresh`, which remembers the description: a reply that was lost is
        made again from it.

        Raises:
            ConfigError: The policy would refuse the token.
            UnavailableError: Too many tokens wait to be signed, or there is no key.
        """
        payload = self._payloads.of_refresh(
            subject, family=family, jti=jti, issued_at=issued_at, expires_at=expires_at
        )
        return await self._signed("refresh", payload)

    async def _issue(
        self,
        token_type: str,
        subject: str | None,
        known: Mapping[str, Any],
        further: Mapping[str, Any] | None,
        lifetime: int | None,
    ) -> IssuedToken:
        issued = await self._signed(
            token_type, self._payloads.make(token_type, subject, known, further or {}, lifetime)
        )
        emit(
            "TOKEN_ISSUED",
            outcome="allowed",
            clock=self._clock,
            details={"token_type": token_type, "kid": issued.kid, "jti_sha256": issued.jti_sha256},
        )
        return issued

    async def _signed(self, token_type: str, payload: Mapping[str, Any]) -> IssuedToken:
        key = self._keys.signing_key()
        message = signing_input(_TYP[token_type], key, payload)
        signature = await _SIGNERS.run(lambda: key.sign(message))
        token = message + b"." + b64url_encode(signature)
        if len(token) > self.policy.longest_token:
            raise ConfigError("claims", f"make a token of {len(token)} bytes", "Leave some out.")
        return IssuedToken(
            token=Secret(token.decode()),
            token_type=token_type,
            jti=payload["jti"],
            kid=key.kid,
            issued_at=payload["iat"],
            expires_at=payload["exp"],
        )
