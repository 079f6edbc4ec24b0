"""How far the move to Argon2id has come, as numbers that a metric can read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

__all__ = ["PasswordCounts", "Tally", "process_counts"]

_PROCESS: Final[Counter[str]] = Counter()


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordCounts:
    """What one `PasswordHasher` has done since it was built.

    Args:
        argon2id: Successful logins whose stored hash was Argon2id.
        argon2_other: The same for Argon2i and Argon2d.
        bcrypt: The same for bcrypt.
        rehashed: Stored hashes replaced.
        rehash_failed: Replacements that did not happen: the row had changed, the pool was full,
            or the callback failed. The next login tries again.
        refused: Passwords that did not match.
        unavailable: Checks that could not be made, e.g. because the pool was full.
        cost_told: Checks of a hash that is neither of the profile nor of `old_hashes`: what they
            cost told a user from an unknown one.
    """

    argon2id: int = 0
    argon2_other: int = 0
    bcrypt: int = 0
    rehashed: int = 0
    rehash_failed: int = 0
    refused: int = 0
    unavailable: int = 0
    cost_told: int = 0

    @property
    def argon2id_share(self) -> float | None:
        """Share of successful logins that met an Argon2id hash, 0 to 1; None before the first.

        Of active users, that is. Of all rows, ask the database: ``docs/passwords.md``.
        """
        logins = self.argon2id + self.argon2_other + self.bcrypt
        return self.argon2id / logins if logins else None


class Tally:
    """Counts by name, for one hasher and for the process at once."""

    __slots__ = ("_own",)

    def __init__(self) -> None:
        self._own: Counter[str] = Counter()

    def add(self, name: str) -> None:
        """Count one more of *name*, a field of `PasswordCounts`."""
        self._own[name] += 1
        _PROCESS[name] += 1

    def read(self) -> PasswordCounts:
        """Return the counts of this hasher."""
        return PasswordCounts(**self._own)


def process_counts() -> PasswordCounts:
    """Return what all hashers of this process have done since it began; for a metric to read."""
    return PasswordCounts(**_PROCESS)
