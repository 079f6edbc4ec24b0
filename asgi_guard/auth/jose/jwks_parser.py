"""Read somebody else's JWK Set (RFC 7517 section 5): what is for us, and nothing doubtful."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from asgi_guard.auth.jose.algorithms import CURVES, RSA_ALGORITHMS
from asgi_guard.auth.jose.jwk import has_private_members, verification_key_of
from asgi_guard.auth.jose.strict_json import strict_object
from asgi_guard.auth.jose.verification_key import VerificationKey
from asgi_guard.errors import ConfigError

__all__ = ["parse_jwks"]

_MOST_KEYS: Final = 64


def parse_jwks(document: bytes, *, algorithms: Sequence[str]) -> dict[str | None, VerificationKey]:
    """Return the keys of *document* that verify one of *algorithms*, by ``kid``.

    Keys for encryption, of other kinds, and malformed ones are left out, as section 5 asks. A key
    without ``alg`` gets the one of *algorithms* that fits it, if only one does.

    Args:
        document: As it was fetched.
        algorithms: Canonical names, none of them symmetric.

    Raises:
        ConfigError: It is no JWK Set; it holds a private or symmetric key, so whoever publishes
            it has lost control; two keys share a name; or none is for us.
    """
    found = strict_object(document)
    entries = found.get("keys") if found is not None else None
    if not isinstance(entries, list) or len(entries) > _MOST_KEYS:
        raise _refused("is no JWK Set of at most 64 keys")
    keys: dict[str | None, VerificationKey] = {}
    for entry in entries:
        if not isinstance(entry, dict):
            raise _refused("has an entry that is no key")
        if has_private_members(entry):
            raise _refused("publishes a private or symmetric key")
        key = _key(entry, algorithms)
        if key is None:
            continue
        if key.kid in keys:
            raise _refused("has two keys of one name")
        keys[key.kid] = key
    if not keys:
        raise _refused("has no key for us")
    if None in keys and len(keys) > 1:
        raise _refused("has a key without a name among others")
    return keys


def _key(entry: Mapping[str, Any], algorithms: Sequence[str]) -> VerificationKey | None:
    named = entry.get("alg")
    fitting = [each for each in algorithms if _fits(entry, each)]
    if named is not None:
        fitting = [each for each in fitting if each == {"Ed25519": "EdDSA"}.get(str(named), named)]
    if len(fitting) != 1:
        return None
    try:
        return verification_key_of(entry, algorithm=fitting[0])
    except ConfigError:
        return None


def _fits(entry: Mapping[str, Any], algorithm: str) -> bool:
    if algorithm in RSA_ALGORITHMS:
        return entry.get("kty") == "RSA"
    if algorithm in CURVES:
        size = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[algorithm]
        return entry.get("kty") == "EC" and entry.get("crv") == size
    return entry.get("kty") == "OKP"


def _refused(problem: str) -> ConfigError:
    return ConfigError("jwks", problem, "Ask its publisher.")
