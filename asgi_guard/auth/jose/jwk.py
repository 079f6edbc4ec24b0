"""JSON Web Keys (RFC 7517): the public ones that we write, and those of others that we read.

A document is written member by member from public numbers, so that no private member can be in
it by accident; and one that holds a private or a symmetric key is not read at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from asgi_guard.auth.jose.algorithms import CURVES, RSA_ALGORITHMS, canonical_algorithm
from asgi_guard.auth.jose.base64url import b64url_decode, b64url_encode
from asgi_guard.auth.jose.verification_key import VerificationKey
from asgi_guard.errors import ConfigError

__all__ = ["has_private_members", "public_jwk", "thumbprint", "verification_key_of"]

_CRV: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_CRV_OF: Final = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
_OKP: Final[dict[str, Any]] = {"Ed25519": Ed25519PublicKey, "Ed448": Ed448PublicKey}
# RFC 7518 section 6, RFC 8037 section 2: what only the owner of a key may have.
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_LONGEST_NUMBER: Final = 4096  # characters; 16384 bits need 2731


def public_jwk(key: Any) -> dict[str, str]:
    """Return the required members of the JWK of public *key*, and no others.

    Raises:
        ConfigError: The key is not RSA, EC on a NIST curve, Ed25519 or Ed448, or is private.
    """
    if isinstance(key, RSAPublicKey):
        numbers = key.public_numbers()
        return {"e": _number(numbers.e), "kty": "RSA", "n": _number(numbers.n)}
    if isinstance(key, EllipticCurvePublicKey) and key.curve.name in _CRV:
        size, point = (key.key_size + 7) // 8, key.public_numbers()
        x, y = _number(point.x, size), _number(point.y, size)  # full size: RFC 7518, 6.2.1.2
        return {"crv": _CRV[key.curve.name], "kty": "EC", "x": x, "y": y}
    for crv, kind in _OKP.items():
        if isinstance(key, kind):
            raw = key.public_bytes_raw()
            return {"crv": crv, "kty": "OKP", "x": b64url_encode(raw).decode()}
    raise ConfigError("key", f"is a {type(key).__name__}", "Pass a public RSA, EC or OKP key.")


def thumbprint(key: Any) -> str:
    """Return the SHA-256 thumbprint of public *key*, 43 characters (RFC 7638 section 3).

    Raises:
        ConfigError: As `public_jwk`.
    """
    canonical = json.dumps(public_jwk(key), sort_keys=True, separators=(",", ":"))
    return b64url_encode(sha256(canonical.encode()).digest()).decode()


def has_private_members(jwk: Mapping[str, Any]) -> bool:
    """Tell whether *jwk* is a private or symmetric key, which nobody should ever see."""
    return not _PRIVATE.isdisjoint(jwk) or jwk.get("kty") == "oct"


def verification_key_of(jwk: Mapping[str, Any], *, algorithm: str) -> VerificationKey:
    """Read one public JWK as a key of *algorithm*.

    Args:
        jwk: As parsed by a strict parser.
        algorithm: What the reader will use it for; an ``alg`` in the key must agree.

    Raises:
        ConfigError: It holds private members, is symmetric, is for something else than verifying
            signatures, is weak or malformed, or does not fit the algorithm.
    """
    wanted = canonical_algorithm(algorithm)
    if has_private_members(jwk):
        raise ConfigError("jwk", "is private or symmetric", "Publish public keys only.")
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or operations != ["verify"]:
        raise ConfigError("jwk", "is not for signatures", 'Its "use" must be "sig".')
    if "alg" in jwk and canonical_algorithm(jwk["alg"], setting="jwk.alg") != wanted:
        raise ConfigError("jwk", f"is not for {wanted}", "One key has one algorithm.")
    kid = jwk.get("kid")
    if kid is not None and (not isinstance(kid, str) or not kid or not kid.isprintable()):
        raise ConfigError("jwk.kid", "is no printable string", "Use the thumbprint.")
    key = None
    with suppress(ValueError, UnsupportedAlgorithm):  # their text may quote the key
        key = _public_key(jwk, wanted)
    if key is None:
        raise ConfigError("jwk", f"is no valid key of {wanted}", "See RFC 7518 section 6.")
    return VerificationKey(key, algorithm=wanted, kid=kid)


def _public_key(jwk: Mapping[str, Any], algorithm: str) -> Any:
    kind = (jwk.get("kty"), jwk.get("crv"))
    crv = str(kind[1])
    if algorithm in RSA_ALGORITHMS and kind == ("RSA", None):
        return RSAPublicNumbers(_integer(jwk, "e"), _integer(jwk, "n")).public_key()
    if algorithm in CURVES and kind == ("EC", _CRV_OF[algorithm]):
        curve = CURVES[algorithm]()
        size = (curve.key_size + 7) // 8
        x, y = _octets(jwk, "x"), _octets(jwk, "y")
        if len(x) != size or len(y) != size:
            return None
        point = EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve)
        return point.public_key()  # refuses a point that is not on the curve
    if algorithm == "EdDSA" and kind[0] == "OKP" and crv in _OKP:
        return _OKP[crv].from_public_bytes(_octets(jwk, "x"))
    return None


def _integer(jwk: Mapping[str, Any], name: str) -> int:
    octets = _octets(jwk, name)
    if octets[:1] == b"\x00":
        raise ValueError("leading zero octets (RFC 7518 section 2, Base64urlUInt)")
    return int.from_bytes(octets)


def _octets(jwk: Mapping[str, Any], name: str) -> bytes:
    value = jwk.get(name)
    if not isinstance(value, str) or len(value) > _LONGEST_NUMBER or not value.isascii():
        raise ValueError(name)
    octets = b64url_decode(value.encode())
    if not octets:
        raise ValueError(name)
    return octets


def _number(value: int, size: int | None = None) -> str:
    return b64url_encode(value.to_bytes(size or (value.bit_length() + 7) // 8)).decode()
