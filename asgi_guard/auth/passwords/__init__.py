"""Passwords: kept as Argon2id hashes, checked off the event loop, moved on from bcrypt at login.

Protects against whoever steals the table (each guess costs memory and time), against whoever
floods the login (a bounded pool, a 429, stored hashes with bounded costs), and against whoever
listens to the clock or to the logs (unknown users cost the same; no password is ever shown).
"""

from __future__ import annotations

from asgi_guard.auth.passwords.breached import BreachedPasswords
from asgi_guard.auth.passwords.counts import PasswordCounts, process_counts
from asgi_guard.auth.passwords.hasher import PasswordHasher, Replace
from asgi_guard.auth.passwords.login import PasswordLogin
from asgi_guard.auth.passwords.parameters import PROFILES, Argon2Parameters
from asgi_guard.auth.passwords.rules import PasswordRules
from asgi_guard.auth.passwords.stored import StoredHashBounds

__all__ = [
    "PROFILES",
    "Argon2Parameters",
    "BreachedPasswords",
    "PasswordCounts",
    "PasswordHasher",
    "PasswordLogin",
    "PasswordRules",
    "Replace",
    "StoredHashBounds",
    "process_counts",
]
