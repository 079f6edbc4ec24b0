"""What an event may say of a token: which key, which token, and nothing that opens anything."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from asgi_guard.auth.jose.verification_key import VerificationKey

__all__ = ["jti_details", "kid_details"]


def kid_details(kid: str | None, key: VerificationKey | None) -> dict[str, str]:
    """Return ``kid`` as our key spells it, else the hash of what the token says.

    Before its signature holds a token says whatever its sender likes: a ``kid`` that is somebody
    else's secret would stand in the log, and one of a million would make a million labels.
    """
    if key is not None and key.kid is not None:
        return {"kid": key.kid}
    return {} if kid is None else {"kid_sha256": _hashed(kid)}


def jti_details(claims: Mapping[str, Any]) -> dict[str, str]:
    """Return ``jti_sha256``, as ``TOKEN_ISSUED`` has it; call it once the signature holds."""
    jti = claims.get("jti")
    return {"jti_sha256": _hashed(str(jti))} if isinstance(jti, str | int) else {}


def _hashed(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
