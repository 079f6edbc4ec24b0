"""API keys: long-lived credentials of programs, stored so that nobody can read them back.

Protects against whoever steals or writes the table (keyed digests under a pepper), against the
key that leaked (it is recognisable to scanners, and dead everywhere within seconds of its
revocation), and against the key that grants more than its maker had.
"""

from __future__ import annotations

from asgi_guard.auth.api_keys.authenticator import APIKeyAuthenticator
from asgi_guard.auth.api_keys.key_format import KeyFormat
from asgi_guard.auth.api_keys.record import APIKey, IssuedKey
from asgi_guard.auth.api_keys.service import APIKeyService
from asgi_guard.auth.api_keys.store import APIKeyStore, MemoryAPIKeyStore

__all__ = [
    "APIKey",
    "APIKeyAuthenticator",
    "APIKeyService",
    "APIKeyStore",
    "IssuedKey",
    "KeyFormat",
    "MemoryAPIKeyStore",
]
