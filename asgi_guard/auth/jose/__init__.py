"""Keys and tokens: JSON Web Keys, Signatures and Tokens (RFC 7515 to 7519, 8725, 9068).

Protects against the token that two parsers read differently, that picks its own algorithm or
brings its own key, that was made for another service or purpose, and against a signing key that
is weak, torn in a rotation, or readable by others.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from asgi_guard.auth.jose.dual_verifier import DualAlgorithmVerifier
    from asgi_guard.auth.jose.hs256_migration import MigrationState
    from asgi_guard.auth.jose.issued_token import IssuedToken
    from asgi_guard.auth.jose.issuer import TokenIssuer
    from asgi_guard.auth.jose.jwks_document import JWKSDocument
    from asgi_guard.auth.jose.jwks_endpoint import JWKSEndpoint
    from asgi_guard.auth.jose.key_file import FolderKeyStore, KeyStore
    from asgi_guard.auth.jose.key_manager import KeyManager
    from asgi_guard.auth.jose.key_source import KeySet, KeySource, PinnedKey, SigningKeySource
    from asgi_guard.auth.jose.key_view import KeyStatus
    from asgi_guard.auth.jose.policy import JwtPolicy
    from asgi_guard.auth.jose.remote_keys import RemoteKeys
    from asgi_guard.auth.jose.resigner import Resigner
    from asgi_guard.auth.jose.revocations import TokenRevocations
    from asgi_guard.auth.jose.signing_key import SigningKey
    from asgi_guard.auth.jose.verification_key import VerificationKey
    from asgi_guard.auth.jose.verified_token import VerifiedToken
    from asgi_guard.auth.jose.verifier import TokenVerifier

__all__ = [
    "DualAlgorithmVerifier",
    "FolderKeyStore",
    "IssuedToken",
    "JWKSDocument",
    "JWKSEndpoint",
    "JwtPolicy",
    "KeyManager",
    "KeySet",
    "KeySource",
    "KeyStatus",
    "KeyStore",
    "MigrationState",
    "PinnedKey",
    "RemoteKeys",
    "Resigner",
    "SigningKey",
    "SigningKeySource",
    "TokenIssuer",
    "TokenRevocations",
    "TokenVerifier",
    "VerificationKey",
    "VerifiedToken",
]

_LATER: Final = {
    "DualAlgorithmVerifier": "dual_verifier",
    "FolderKeyStore": "key_file",
    "IssuedToken": "issued_token",
    "JWKSDocument": "jwks_document",
    "JWKSEndpoint": "jwks_endpoint",
    "JwtPolicy": "policy",
    "KeyManager": "key_manager",
    "KeySet": "key_source",
    "KeySource": "key_source",
    "KeyStatus": "key_view",
    "KeyStore": "key_file",
    "MigrationState": "hs256_migration",
    "PinnedKey": "key_source",
    "RemoteKeys": "remote_keys",
    "Resigner": "resigner",
    "SigningKey": "signing_key",
    "SigningKeySource": "key_source",
    "TokenIssuer": "issuer",
    "TokenRevocations": "revocations",
    "TokenVerifier": "verifier",
    "VerificationKey": "verification_key",
    "VerifiedToken": "verified_token",
}


def __getattr__(name: str) -> Any:
    """Load PyJWT and cryptography only for those who use them (PEP 562)."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
