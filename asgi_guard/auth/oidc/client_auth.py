"""How a client proves itself at the token endpoint (OpenID Connect Core 1.0 section 9)."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable
from urllib.parse import quote_plus

from asgi_guard._internal.pools import BoundedPool
from asgi_guard.auth.jose.base64url import b64url_encode
from asgi_guard.auth.jose.signing_key import SigningKey
from asgi_guard.errors import ConfigError
from asgi_guard.secret import Secret

__all__ = [
    "ClientAuthentication",
    "ClientProof",
    "ClientSecretBasic",
    "ClientSecretPost",
    "PrivateKeyJWT",
    "PublicClient",
]

_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_SECONDS: Final = 60
_SIGNERS: Final = BoundedPool("oidc-sign", workers=1, queue=64, full="signers_busy")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientProof:
    """What one request to the token endpoint carries besides the grant; never shown.

    Args:
        headers: By lower-case name.
        fields: Of the form.
    """

    headers: Mapping[str, str]
    fields: Mapping[str, str]

    def __repr__(self) -> str:
        return "ClientProof(**********)"


@runtime_checkable
class ClientAuthentication(Protocol):
    """One way to prove who the client is; ``method`` is its registered name."""

    @property
    def method(self) -> str:
        """The name in ``token_endpoint_auth_methods_supported``."""

    async def prove(self, client_id: str, *, issuer: str, now: float) -> ClientProof:
        """Return what the request carries.

        Args:
            client_id: Of this app at the provider.
            issuer: The provider, the only audience of an assertion.
            now: Unix seconds.
        """


class ClientSecretBasic:
    """``client_secret_basic``: the secret in the Authorization header (RFC 6749 section 2.3.1).

    Args:
        secret: As the provider gave it.

    Raises:
        ConfigError: It is empty, or no `Secret`.
    """

    __slots__ = ("_secret",)
    method = "client_secret_basic"

    def __init__(self, secret: Secret) -> None:
        self._secret = _checked(secret)

    async def prove(self, client_id: str, *, issuer: str, now: float) -> ClientProof:  # noqa: ARG002 - one shape for all ways
        """Return the header; both halves are form-encoded first, as section 2.3.1 asks."""
        pair = f"{quote_plus(client_id)}:{quote_plus(self._secret.reveal())}"
        value = base64.b64encode(pair.encode()).decode()
        return ClientProof(headers={"authorization": f"Basic {value}"}, fields={})


class ClientSecretPost:
    """``client_secret_post``: the secret in the form, for providers that take nothing better.

    Args:
        secret: As the provider gave it.

    Raises:
        ConfigError: It is empty, or no `Secret`.
    """

    __slots__ = ("_secret",)
    method = "client_secret_post"

    def __init__(self, secret: Secret) -> None:
        self._secret = _checked(secret)

    async def prove(self, client_id: str, *, issuer: str, now: float) -> ClientProof:  # noqa: ARG002 - one shape for all ways
        """Return the fields."""
        fields = {"client_id": client_id, "client_secret": self._secret.reveal()}
        return ClientProof(headers={}, fields=fields)


class PrivateKeyJWT:
    """``private_key_jwt``: a signed assertion (RFC 7523 section 2.2); no secret is shared.

    Args:
        key: The private key; its public half is registered with the provider.

    Raises:
        ConfigError: It is no `SigningKey`.

    The issuer is the only audience: an assertion for one provider is of no use at another that
    names the first one's token endpoint as its own.
    """

    __slots__ = ("_key",)
    method = "private_key_jwt"

    def __init__(self, key: SigningKey) -> None:
        if not isinstance(key, SigningKey):
            raise ConfigError("PrivateKeyJWT.key", "is no SigningKey", "Pass SigningKey(pem, ...).")
        self._key = key

    async def prove(self, client_id: str, *, issuer: str, now: float) -> ClientProof:
        """Return a fresh assertion, which lives for a minute."""
        header = {"alg": self._key.algorithm, "kid": self._key.kid, "typ": "JWT"}
        claims = {
            "iss": client_id,
            "sub": client_id,
            "aud": issuer,
            "jti": secrets.token_urlsafe(16),
            "iat": int(now),
            "exp": int(now) + _SECONDS,
        }
        signing_input = _part(header) + b"." + _part(claims)
        signature = await _SIGNERS.run(lambda: self._key.sign(signing_input))
        assertion = signing_input + b"." + b64url_encode(signature)
        fields = {
            "client_id": client_id,
            "client_assertion_type": _ASSERTION,
            "client_assertion": assertion.decode(),
        }
        return ClientProof(headers={}, fields=fields)


class PublicClient:
    """``none``: a client without a secret, which PKCE alone protects."""

    __slots__ = ()
    method = "none"

    async def prove(self, client_id: str, *, issuer: str, now: float) -> ClientProof:  # noqa: ARG002 - one shape for all ways
        """Return the client's name."""
        return ClientProof(headers={}, fields={"client_id": client_id})


def _checked(secret: Secret) -> Secret:
    if not isinstance(secret, Secret) or not secret:
        raise ConfigError("client_secret", "is no Secret, or empty", "Pass Secret(...).")
    return secret


def _part(value: Mapping[str, Any]) -> bytes:
    return b64url_encode(json.dumps(value, separators=(",", ":")).encode())
