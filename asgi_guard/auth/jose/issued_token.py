"""IssuedToken: a token that was made, and the bytes that are signed for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from asgi_guard.auth.jose.base64url import b64url_encode
from asgi_guard.auth.jose.signing_key import SigningKey
from asgi_guard.errors import ConfigError
from asgi_guard.secret import Secret

__all__ = ["IssuedToken", "signing_input"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A token that was made.

    Args:
        token: The compact serialisation; ``reveal()`` it into the response.
        token_type: ``"access"``, ``"id"`` ...
        jti: Its id (RFC 7519 section 4.1.7).
        kid: Of the key that signed it.
        issued_at: Unix seconds.
        expires_at: Unix seconds, the token's ``exp``.
    """

    token: Secret
    token_type: str
    jti: str
    kid: str
    issued_at: int
    expires_at: int

    @property
    def jti_sha256(self) -> str:
        """The hash of its id, by which events name it."""
        return sha256(self.jti.encode()).hexdigest()


def signing_input(typ: str, key: SigningKey, payload: Mapping[str, Any]) -> bytes:
    """Return header and payload as they are signed (RFC 7515 section 5.1).

    Raises:
        ConfigError: The payload is no JSON.
    """
    header = {"alg": key.algorithm, "kid": key.kid, "typ": typ}
    return b64url_encode(_json(header)) + b"." + b64url_encode(_json(payload))


def _json(value: Mapping[str, Any]) -> bytes:
    problem = None
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        problem = type(error).__name__
    raise ConfigError("claims", f"are no JSON ({problem})", "Pass plain finite values.")
