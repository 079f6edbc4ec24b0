"""What one Argon2 hash costs: named profiles, and a floor below which none is accepted.

Sources: OWASP Password Storage Cheat Sheet (Argon2id), RFC 9106 section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from asgi_guard.errors import ConfigError

__all__ = ["PROFILES", "Argon2Parameters", "named_profile"]

_LEAST_MEMORY: Final = 7_168  # KiB: OWASP's smallest, with t=5
_LEAST_WORK: Final = 35_840  # KiB times passes: the least that OWASP's five profiles come to


@dataclass(frozen=True, slots=True, kw_only=True)
class Argon2Parameters:
    """The cost of an Argon2id hash (RFC 9106 section 3.1).

    Args:
        memory_cost: Memory of one hash, in KiB.
        time_cost: Passes over it.
        parallelism: Lanes, each a thread of its own while it hashes.
        insecure_cheap: Accept less than OWASP's least. For tests.

    Raises:
        ConfigError: A cost is out of range, or less than OWASP's least.
    """

    memory_cost: int
    time_cost: int
    parallelism: int = 1
    insecure_cheap: bool = False

    def __post_init__(self) -> None:
        """Refuse what would not slow a guesser down."""
        if not (self.time_cost >= 1 and 1 <= self.parallelism <= 16):  # noqa: PLR2004 - lanes
            raise ConfigError(
                "Argon2Parameters",
                f"t={self.time_cost!r}, p={self.parallelism!r} is out of range",
                "Pass time_cost of at least 1 and parallelism of 1 to 16.",
            )
        if self.memory_cost < 8 * self.parallelism:  # RFC 9106 section 3.1
            raise ConfigError(
                "Argon2Parameters.memory_cost",
                f"{self.memory_cost!r} KiB is less than 8 for each lane",
                "Pass 19456.",
            )
        weak = self.memory_cost < _LEAST_MEMORY or self.memory_cost * self.time_cost < _LEAST_WORK
        if weak and not self.insecure_cheap:
            raise ConfigError(
                "Argon2Parameters",
                f"m={self.memory_cost}, t={self.time_cost} is cheaper to guess than OWASP accepts",
                "Use a profile, e.g. 'owasp'; insecure_cheap=True is for tests.",
            )


PROFILES: Final[Mapping[str, Argon2Parameters]] = MappingProxyType(
    {
        "owasp": Argon2Parameters(memory_cost=19_456, time_cost=2),
        "owasp_more_memory": Argon2Parameters(memory_cost=47_104, time_cost=1),
        "owasp_less_memory": Argon2Parameters(memory_cost=9_216, time_cost=4),
        "rfc9106_low_memory": Argon2Parameters(memory_cost=65_536, time_cost=3, parallelism=4),
    }
)
"""Named profiles. The first three cost a guesser about the same; the last costs about five times
that (RFC 9106 section 4, second recommendation)."""


def named_profile(profile: str | Argon2Parameters) -> Argon2Parameters:
    """Return the parameters called *profile*, or those given.

    Raises:
        ConfigError: There is no profile of that name.
    """
    if isinstance(profile, Argon2Parameters):
        return profile
    if profile not in PROFILES:
        raise ConfigError(
            "PasswordHasher.profile", f"{profile!r} is unknown", f"Use {', '.join(PROFILES)}."
        )
    return PROFILES[profile]
