"""DPoP: access tokens that are worth nothing without their key (RFC 9449).

Protects against the token that was copied: from a log, a proxy, a browser's storage, a server
that it was sent to. Each request brings a proof, signed with a key that never leaves the client,
for one method, one address, one token and one moment, and each proof is taken once.
"""

from __future__ import annotations

from asgi_guard.auth.dpop.authenticator import DPoPAuthenticator
from asgi_guard.auth.dpop.checks import CHECKS, Check
from asgi_guard.auth.dpop.client import DPoPClient
from asgi_guard.auth.dpop.nonces import DPoPNonces
from asgi_guard.auth.dpop.policy import DPoPPolicy
from asgi_guard.auth.dpop.proof import DPoPProof
from asgi_guard.auth.dpop.prover import DPoPProver
from asgi_guard.auth.dpop.target import RequestTarget
from asgi_guard.auth.dpop.token_endpoint import (
    DPoPTokenEndpoint,
    TokenBinding,
    dpop_jkt,
    oauth_error,
)
from asgi_guard.auth.dpop.validator import DPoPValidator

__all__ = [
    "CHECKS",
    "Check",
    "DPoPAuthenticator",
    "DPoPClient",
    "DPoPNonces",
    "DPoPPolicy",
    "DPoPProof",
    "DPoPProver",
    "DPoPTokenEndpoint",
    "DPoPValidator",
    "RequestTarget",
    "TokenBinding",
    "dpop_jkt",
    "oauth_error",
]
