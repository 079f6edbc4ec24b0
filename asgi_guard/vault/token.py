"""OAuthToken: what a third party's authorization server gave, and how it is kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from asgi_guard.errors import ConfigError, VaultOpenError
from asgi_guard.secret import Secret

__all__ = ["OAuthToken", "decode_secret", "decode_token", "encode_secret", "encode_token"]

_TOKEN: Final = "oauth"  # noqa: S105 - a kind of content, no password
_SECRET: Final = "secret"  # noqa: S105 - as above


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OAuthToken:
    """One access token and what belongs to it (RFC 6749 section 5.1).

    Args:
        access_token: The token to call the third party with.
        refresh_token: What gets the next one, if the third party gave one.
        expires_at: Unix seconds; None if it did not say.
        scopes: What was granted.
        token_type: As the third party spells it.

    Raises:
        ConfigError: A token is no `Secret`, or *expires_at* is no number.
    """

    access_token: Secret
    refresh_token: Secret | None = None
    expires_at: float | None = None
    scopes: Iterable[str] = frozenset()
    token_type: str = "Bearer"  # noqa: S105 - RFC 6750

    def __post_init__(self) -> None:
        """Refuse tokens in plain strings, which a repr or log line would show."""
        refresh = self.refresh_token
        if not isinstance(self.access_token, Secret) or not self.access_token:
            raise ConfigError("OAuthToken.access_token", "is no Secret", "Wrap it: Secret(text).")
        if refresh is not None and (not isinstance(refresh, Secret) or not refresh):
            raise ConfigError("OAuthToken.refresh_token", "is no Secret", "Wrap it, or pass None.")
        if self.expires_at is not None and type(self.expires_at) not in {int, float}:
            raise ConfigError("OAuthToken.expires_at", "is no number", "Pass Unix seconds.")
        if isinstance(self.scopes, str):
            raise ConfigError("OAuthToken.scopes", "is one string", "Pass a set; use .split().")
        object.__setattr__(self, "scopes", frozenset(self.scopes))

    @classmethod
    def from_response(cls, response: Mapping[str, Any], *, now: float) -> OAuthToken:
        """Read a token endpoint's JSON answer (RFC 6749 section 5.1).

        Args:
            response: The parsed answer.
            now: Unix seconds at which it came; ``expires_in`` counts from there.

        Raises:
            ConfigError: It is no such answer; it is not repeated.
        """
        access, refresh = response.get("access_token"), response.get("refresh_token")
        lifetime, scope = response.get("expires_in"), response.get("scope")
        if not isinstance(access, str) or not access:
            raise ConfigError(
                "OAuthToken.from_response", "has no access_token", "Was it an error answer?"
            )
        return cls(
            access_token=Secret(access),
            refresh_token=Secret(refresh) if isinstance(refresh, str) and refresh else None,
            expires_at=None if lifetime is None else now + _seconds(lifetime),
            scopes=scope.split() if isinstance(scope, str) else (),
            token_type=str(response.get("token_type") or "Bearer"),
        )

    def keeping_refresh_of(self, old: OAuthToken) -> OAuthToken:
        """Return this token, with *old*'s refresh token if it brought none (RFC 6749 section 6)."""
        if self.refresh_token is not None:
            return self
        return replace(self, refresh_token=old.refresh_token)

    def expires_within(self, seconds: float, *, now: float) -> bool:
        """Tell whether it will have expired *seconds* from *now*."""
        return self.expires_at is not None and self.expires_at <= now + seconds


def encode_token(token: OAuthToken) -> Secret:
    """Return what is sealed for *token*."""
    refresh = token.refresh_token
    content = {
        "kind": _TOKEN,
        "access_token": token.access_token.reveal(),
        "refresh_token": refresh.reveal() if refresh else None,
        "expires_at": token.expires_at,
        "scopes": sorted(token.scopes),
        "token_type": token.token_type,
    }
    return Secret(json.dumps(content, separators=(",", ":")))


def decode_token(plaintext: Secret) -> OAuthToken:
    """Read what `encode_token` wrote.

    Raises:
        VaultOpenError: ``vault_malformed``; it was authentic, and yet no token.
    """
    token = _token_in(plaintext)
    if token is None:
        raise VaultOpenError("vault_malformed")
    return token


def encode_secret(value: Secret) -> Secret:
    """Return what is sealed for a secret that is no OAuth token."""
    return Secret(json.dumps({"kind": _SECRET, "value": value.reveal()}))


def decode_secret(plaintext: Secret) -> Secret:
    """Read what `encode_secret` wrote.

    Raises:
        VaultOpenError: ``vault_malformed``.
    """
    value = (_content(plaintext, _SECRET) or {}).get("value")
    if not isinstance(value, str):
        raise VaultOpenError("vault_malformed")
    return Secret(value)


def _token_in(plaintext: Secret) -> OAuthToken | None:
    content = _content(plaintext, _TOKEN)
    if content is None:
        return None
    try:
        return OAuthToken(
            access_token=Secret(content["access_token"]),
            refresh_token=Secret(content["refresh_token"]) if content["refresh_token"] else None,
            expires_at=content["expires_at"],
            scopes=content["scopes"],
            token_type=content["token_type"],
        )
    except (KeyError, TypeError, ConfigError):
        return None


def _content(plaintext: Secret, kind: str) -> dict[str, Any] | None:
    try:
        content = json.loads(plaintext.reveal())
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and content.get("kind") == kind else None


def _seconds(lifetime: Any) -> float:
    try:
        return float(lifetime)  # some servers send it as text
    except (TypeError, ValueError):
        pass
    raise ConfigError("OAuthToken.from_response", "has a strange expires_in", "Set expires_at.")
