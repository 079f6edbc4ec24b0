"""Read a stored password hash strictly, and refuse one that would cost the server dear.

A hash comes from a database that an attacker, or a careless import, may have written to. Its
parameters decide how much memory and time one login takes: ``m=4194304`` in one row is 4 GiB for
each attempt (CWE-400). So the text has one spelling, and its costs have bounds, both checked
before any work.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Final, Literal

__all__ = ["Argon2Hash", "BcryptHash", "StoredHashBounds", "parse_stored"]

Variant = Literal["argon2id", "argon2i", "argon2d"]

_LONGEST: Final = 256
_ARGON2: Final = re.compile(
    r"\$(argon2id|argon2i|argon2d)\$v=19"
    r"\$m=([1-9][0-9]{0,8}),t=([1-9][0-9]{0,4}),p=([1-9][0-9]{0,2})"
    r"\$([A-Za-z0-9+/]{11,64})\$([A-Za-z0-9+/]{16,86})"
)
# $2x$ marks hashes of a broken crypt_blowfish (CVE-2011-2483), which many passwords fit.
_BCRYPT: Final = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHashBounds:
    """The dearest stored hash that is verified at all.

    Args:
        memory_cost: Most memory of one hash, in KiB.
        work: Most memory times passes, in KiB.
        parallelism: Most lanes.
        bcrypt_cost: Highest bcrypt cost; each step doubles the time, 14 takes about a second.
    """

    memory_cost: int = 262_144
    work: int = 1_048_576
    parallelism: int = 16
    bcrypt_cost: int = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Argon2Hash:
    """A hash in the PHC string format, version 1.3 (``v=19``) only."""

    algorithm: Variant = "argon2id"
    memory_cost: int
    time_cost: int
    parallelism: int
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    @property
    def kind(self) -> tuple[object, ...]:
        """What its cost depends on."""
        costs = (self.memory_cost, self.time_cost, self.parallelism)
        return (self.algorithm, *costs, len(self.salt), len(self.digest))

    def encode(self) -> str:
        """Return the PHC string, as argon2-cffi and libargon2 write it."""
        return (
            f"${self.algorithm}$v=19$m={self.memory_cost},t={self.time_cost},"
            f"p={self.parallelism}${_encoded(self.salt)}${_encoded(self.digest)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BcryptHash:
    """A hash in the modular crypt format, prefix ``$2a$``, ``$2b$`` or ``$2y$``."""

    algorithm: Literal["bcrypt"] = "bcrypt"
    cost: int
    text: bytes = field(repr=False)

    @property
    def kind(self) -> tuple[object, ...]:
        """What its cost depends on."""
        return (self.algorithm, self.cost)


def parse_stored(text: object, bounds: StoredHashBounds) -> Argon2Hash | BcryptHash | None:
    """Return the hash that *text* spells, or None if it is malformed or beyond *bounds*."""
    if not isinstance(text, str) or len(text) > _LONGEST:
        return None
    if (found := _BCRYPT.fullmatch(text)) is not None:
        cost = int(found[1])
        inside = 4 <= cost <= bounds.bcrypt_cost  # noqa: PLR2004 - the algorithm's least
        return BcryptHash(cost=cost, text=text.encode()) if inside else None
    if (found := _ARGON2.fullmatch(text)) is not None:
        return _argon2(found, bounds)
    return None


def _argon2(found: re.Match[str], bounds: StoredHashBounds) -> Argon2Hash | None:
    memory, passes, lanes = int(found[2]), int(found[3]), int(found[4])
    if memory > bounds.memory_cost or memory * passes > bounds.work:
        return None
    if lanes > bounds.parallelism or memory < 8 * lanes:
        return None
    salt, digest = _decoded(found[5]), _decoded(found[6])
    if salt is None or digest is None:
        return None
    algorithm: Variant = "argon2id"
    if found[1] != "argon2id":
        algorithm = "argon2i" if found[1] == "argon2i" else "argon2d"
    return Argon2Hash(
        algorithm=algorithm,
        memory_cost=memory,
        time_cost=passes,
        parallelism=lanes,
        salt=salt,
        digest=digest,
    )


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes | None:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return None
    return data if _encoded(data) == text else None  # unused bits: RFC 4648 section 3.5
