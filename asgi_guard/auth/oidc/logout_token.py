"""Check a logout token (OpenID Connect Back-Channel Logout 1.0 section 2.6)."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final, NamedTuple

from asgi_guard.auth.jose.key_source import KeySource
from asgi_guard.auth.oidc.id_token import plain_subject, session_id_claim
from asgi_guard.auth.oidc.provider import OIDCProvider
from asgi_guard.auth.oidc.refusal import refuse
from asgi_guard.auth.oidc.signed_token import verified_claims
from asgi_guard.protocols import KeyValueStore

__all__ = ["LogoutToken", "OneTimeTokens", "verified_logout"]

_BEGUN: Final = b"begun"
_DONE: Final = b"done"


class LogoutToken(NamedTuple):
    """What the provider says has ended; at least one of *subject* and *sid* is there."""

    subject: str | None
    sid: str | None
    jti: str
    issued_at: float
    expires_at: float


async def verified_logout(
    token: str, *, provider: OIDCProvider, keys: KeySource, now: float
) -> LogoutToken:
    """Return what *token* proves.

    Raises:
        LoginRefusedError: A check failed; the reason begins with ``logout_token_``.
        UnavailableError: The keys cannot be had.
    """
    signed = await verified_claims(token, kind="logout", policy=provider.policy, keys=keys, now=now)
    claims: dict[str, Any] = signed.claims
    if not isinstance(claims["jti"], str):
        refuse("logout_token_jti_malformed")
    return LogoutToken(
        subject=None if claims.get("sub") is None else plain_subject(claims, kind="logout"),
        sid=session_id_claim(claims, kind="logout"),
        jti=claims["jti"],
        issued_at=float(claims["iat"]),
        expires_at=float(claims["exp"]),
    )


class OneTimeTokens:
    """Notice a logout token that comes again (section 2.6, step 7).

    Args:
        store: Shared by all processes.

    A token counts as used once its work is done: one whose work failed half-way may come again,
    or a provider that tries again would be told that all is well.
    """

    def __init__(self, store: KeyValueStore) -> None:
        self._store = store

    async def begin(self, provider: OIDCProvider, token: LogoutToken, *, now: float) -> str:
        """Return the name under which *token* is known.

        Raises:
            LoginRefusedError: It was used.
            UnavailableError: The store does not answer.
        """
        parts = f"{provider.issuer}\n{provider.client_id}\n{token.jti}"
        name = "oidc:logout-jti:" + sha256(parts.encode()).hexdigest()
        ttl = self._ttl(provider, token, now)
        is_first = await self._store.put_if_absent(name, _BEGUN, ttl=ttl)
        if not is_first and await self._store.get(name) == _DONE:
            refuse("logout_token_replayed")
        return name

    async def finish(
        self, name: str, provider: OIDCProvider, token: LogoutToken, *, now: float
    ) -> None:
        """Remember that the work of *token* is done."""
        await self._store.put(name, _DONE, ttl=self._ttl(provider, token, now))

    @staticmethod
    def _ttl(provider: OIDCProvider, token: LogoutToken, now: float) -> float:
        return max(token.expires_at - now, 0) + 2 * provider.skew + 1
