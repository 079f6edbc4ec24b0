r"""Passwords of login roles, kept out of every script, server log and repr.

``ALTER ROLE … PASSWORD 'plain'`` sends the password itself, and a server that logs statements keeps
it. PostgreSQL also takes the verifier that it would have computed (SCRAM-SHA-256, RFC 7677, in the
stored form of RFC 5803), from which nobody can log in; psql's ``\password`` does the same.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from base64 import b64encode
from typing import Final

from asgi_guard.errors import ConfigError
from asgi_guard.rls.ddl.names import identifier, literal
from asgi_guard.secret import Secret

__all__ = ["password_statement"]

_ITERATIONS: Final = 4096  # PostgreSQL's own default, and RFC 7677's least
_SALT_BYTES: Final = 16


def password_statement(role: str, password: Secret) -> str:
    """Return the ``ALTER ROLE`` that gives *role* its password, holding a verifier of it.

    Run it apart from the policies: ``connection.exec_driver_sql(password_statement(...))``.

    Args:
        role: The role's name.
        password: Printable ASCII; other characters would need SASLprep (RFC 4013) first.

    Raises:
        ConfigError: The password is no `Secret`, is empty, or holds other characters.
    """
    if not isinstance(password, Secret):
        raise ConfigError(
            "rls.password",
            f"the password of {role!r} is a {type(password).__name__}, which logs would show",
            "Wrap it: Secret(password), from asgi_guard.secret.",
        )
    plain = password.reveal()
    if not plain or not plain.isascii() or not plain.isprintable():
        raise ConfigError(
            "rls.password",
            f"the password of {role!r} is empty or not printable ASCII",
            "Use letters, digits and ASCII marks.",
        )
    verifier = _scram_verifier(plain.encode(), os.urandom(_SALT_BYTES))
    return f"ALTER ROLE {identifier(role)} PASSWORD {literal(verifier)}"


def _scram_verifier(password: bytes, salt: bytes) -> str:
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, _ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    fields = [b64encode(part).decode() for part in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${_ITERATIONS}:{fields[0]}${fields[1]}:{fields[2]}"
