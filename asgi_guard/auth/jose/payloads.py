"""Payloads: the claims of a new token, which a verifier of the same policy accepts."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

from asgi_guard.auth.jose.claims import ClaimRules
from asgi_guard.auth.jose.policy import JwtPolicy
from asgi_guard.auth.jose.principal import principal_of
from asgi_guard.errors import AuthenticationError, ConfigError
from asgi_guard.protocols import Clock

__all__ = ["Payloads"]

_JTI_BYTES: Final = 16
_OURS: Final = frozenset({"iss", "aud", "exp", "iat", "nbf", "jti", "sub", "client_id"})


class Payloads:
    """Make claims under one policy.

    Args:
        policy: What the tokens must be.
        clock: Where "now" comes from.
    """

    def __init__(self, policy: JwtPolicy, *, clock: Clock) -> None:
        self._policy = policy
        self._clock = clock
        self._rules = {each: ClaimRules.of(policy, each) for each in policy.types}

    def make(
        self,
        token_type: str,
        subject: str | None,
        known: Mapping[str, Any],
        further: Mapping[str, Any],
        lifetime: int | None,
    ) -> dict[str, Any]:
        """Return the claims of a new token.

        Args:
            token_type: Which kind.
            subject: Whose; None for a logout token of a session.
            known: Claims that an argument stands for; those that are None are left out.
            further: The app's own.
            lifetime: Seconds; None for the policy's.

        Raises:
            ConfigError: The policy has no such kind, or would refuse the token.
        """
        if token_type not in self._rules:
            raise ConfigError("token_type", f"{token_type!r} is not in the policy", "Add it.")
        taken = sorted({*_OURS, *known} & set(further))
        if taken:
            raise ConfigError("claims", f"set {', '.join(taken)}", "Use the argument instead.")
        now = int(self._clock.now())
        payload = {
            "iss": self._policy.issuer,
            "aud": self._policy.audience,
            **({} if subject is None else {"sub": subject}),
            "iat": now,
            "exp": now + (self._policy.lifetime_of(token_type) if lifetime is None else lifetime),
            "jti": secrets.token_urlsafe(_JTI_BYTES),
            **{name: value for name, value in known.items() if value is not None},
            **further,
        }
        self._check(token_type, payload, now)
        return payload

    def of_refresh(
        self, subject: str, *, family: str, jti: str, issued_at: int, expires_at: int
    ) -> dict[str, Any]:
        """Return the claims of the refresh token that is described.

        Raises:
            ConfigError: The policy would refuse the token.
        """
        payload = {
            "iss": self._policy.issuer,
            "aud": self._policy.audience,
            "sub": subject,
            "iat": issued_at,
            "exp": expires_at,
            "jti": jti,
            "fam": family,
        }
        self._check("refresh", payload, int(self._clock.now()))
        return payload

    def _check(self, token_type: str, payload: dict[str, Any], now: int) -> None:
        """Refuse to sign what a verifier would refuse: its user would be logged out at once."""
        reason = ""
        try:
            end = self._rules[token_type].check(payload, now=now)
            if token_type == "access":  # noqa: S105 - a kind of token
                principal_of(
                    payload,
                    tenant_claim=self._policy.tenant_claim,
                    roles_claim=self._policy.roles_claim,
                    expires_at=end,
                )
        except AuthenticationError as refusal:
            reason = refusal.reason
        if reason:
            raise ConfigError("claims", f"would be refused: {reason}", "See JwtPolicy.")
