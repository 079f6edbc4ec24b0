"""Keys and tokens: JSON Web Keys, Signatures and Tokens (RFC 7515 to 7519, 8725, 9068).

Protects against the token that two parsers read differently, that picks its own algorithm or
brings its own key, that was made for another service or purpose, and against a signing key that
is weak, torn in a rotation, or readable by others.
"""

from __future__ import annotations

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
