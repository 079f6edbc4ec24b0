"""The expensive part, as plain functions for a pool's thread: derive, and compare.

A library's error may quote what it was given, and its traceback keeps this module's locals. So
nothing that a library raises leaves here: it is turned into our own error outside of the
``except`` block.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import bcrypt
from argon2 import low_level

from asgi_guard._internal.constant_time import equal
from asgi_guard.auth.passwords.parameters import Argon2Parameters
from asgi_guard.auth.passwords.rules import normalised
from asgi_guard.auth.passwords.stored import Argon2Hash, BcryptHash
from asgi_guard.errors import UnavailableError
from asgi_guard.secret import Secret

__all__ = ["matches", "matches_at_one_cost", "new_hash", "same_cost", "unknown_user_hash"]

_SALT_BYTES: Final = 16  # RFC 9106 section 3.1
_DIGEST_BYTES: Final = 32
_BCRYPT_BYTES: Final = 72
_BCRYPT_LETTERS: Final = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_BCRYPT_TAIL: Final = 31
_TYPES: Final = {
    "argon2id": low_level.Type.ID,
    "argon2i": low_level.Type.I,
    "argon2d": low_level.Type.D,
}


def new_hash(password: Secret, parameters: Argon2Parameters) -> str:
    """Return a new Argon2id hash of *password* with a salt of its own, as a PHC string.

    Raises:
        UnavailableError: The memory for it cannot be had.
    """
    blank = _blank(parameters, os.urandom(_SALT_BYTES), b"\0" * _DIGEST_BYTES)
    digest = _derived(password, blank)
    return _blank(parameters, blank.salt, digest).encode()


def unknown_user_hash(parameters: Argon2Parameters) -> Argon2Hash:
    """Return a hash that no password is known for: what unknown users are compared with."""
    return _blank(parameters, os.urandom(_SALT_BYTES), os.urandom(_DIGEST_BYTES))


def same_cost(form: Argon2Hash | BcryptHash) -> Argon2Hash | BcryptHash:
    """Return a hash of the same kind and cost that no password is known for."""
    if isinstance(form, BcryptHash):
        salt = bcrypt.gensalt(form.cost)
        tail = "".join(secrets.choice(_BCRYPT_LETTERS) for _ in range(_BCRYPT_TAIL))
        return BcryptHash(cost=form.cost, text=salt + tail.encode())
    return replace(form, salt=os.urandom(len(form.salt)), digest=os.urandom(len(form.digest)))


def matches_at_one_cost(
    password: Secret,
    stored: Argon2Hash | BcryptHash,
    others: Iterable[Argon2Hash | BcryptHash],
) -> bool:
    """Tell whether *stored* was made from *password*, and compute each of *others* for nothing.

    Raises:
        UnavailableError: The memory for it cannot be had.
    """
    same = matches(password, stored)
    for each in others:
        matches(password, each)
    return same


def matches(password: Secret, stored: Argon2Hash | BcryptHash) -> bool:
    """Tell whether *stored* was made from *password*.

    Raises:
        UnavailableError: The memory for it cannot be had.
    """
    if isinstance(stored, BcryptHash):
        return _matches_bcrypt(password, stored)
    return equal(_derived(password, stored), stored.digest)


def _blank(parameters: Argon2Parameters, salt: bytes, digest: bytes) -> Argon2Hash:
    return Argon2Hash(
        memory_cost=parameters.memory_cost,
        time_cost=parameters.time_cost,
        parallelism=parameters.parallelism,
        salt=salt,
        digest=digest,
    )


def _derived(password: Secret, form: Argon2Hash) -> bytes:
    digest: bytes | None = None
    try:
        digest = low_level.hash_secret_raw(
            normalised(password).encode(),
            form.salt,
            time_cost=form.time_cost,
            memory_cost=form.memory_cost,
            parallelism=form.parallelism,
            hash_len=len(form.digest),
            type=_TYPES[form.algorithm],
            version=19,
        )
    except Exception:  # noqa: BLE001 - see the module's first paragraph
        digest = None
    if digest is None:
        raise UnavailableError("password_hashing_failed")
    return digest


def _matches_bcrypt(password: Secret, stored: BcryptHash) -> bool:
    """Compare as old hashes were made: the text as it was typed, its first 72 bytes.

    bcrypt 5 raises over 72 bytes where earlier releases cut. A NUL never matches: libraries in C
    stop reading there, so "a" and "a", NUL, "b" would be one password.
    """
    try:
        typed = password.reveal().encode()
        # Computed all the same: else a NUL would tell users of bcrypt from all others.
        readable = typed.replace(b"\0", b"\1")[:_BCRYPT_BYTES]
        return bcrypt.checkpw(readable, stored.text) and b"\0" not in typed
    except Exception:  # noqa: BLE001 - see the module's first paragraph
        return False
