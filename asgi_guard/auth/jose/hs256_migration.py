"""From HS256 to public keys in three steps, each of which can be taken back. Pure.

==============  ================  ==================  ==========================================
After step      new tokens        accepted            next step once
==============  ================  ==================  ==========================================
``published``   HS256             both                all verifiers have fetched the JWKS
``switched``    RS256             both                the longest HS256 token has expired
``ended``       RS256             RS256
==============  ================  ==================  ==========================================

The whole trouble with such a change is a verifier that meets a token which it does not know yet,
or no longer: hence verifying comes before signing, and ends long after it.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Self

from asgi_guard.auth.jose.strict_json import strict_object
from asgi_guard.errors import ConfigError

__all__ = ["PHASES", "MigrationState"]

PHASES: Final = ("published", "switched", "ended")
_FORMAT: Final = 1
_SKEW: Final = 300.0
_YEAR: Final = 366 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationState:
    """How far a migration has come; times in Unix seconds.

    Args:
        phase: The last step that was taken, one of `PHASES`.
        algorithm: What will be signed with.
        longest_lifetime: Seconds that the longest HS256 token lives, refresh tokens included.
        settle: Seconds until every verifier knows the published keys.
        deadline: When HS256 ends at the latest, whatever happens.
        published_at: When the keys were published.
        switched_at: When signing changed; 0 if it has not.
        ended_at: When HS256 was given up; 0 if it was not.
        signed_until: Until when RS256 tokens were signed before a step back; 0 if never.

    Raises:
        ConfigError: A number is none, or the deadline is over a year away.
    """

    phase: str
    algorithm: str
    longest_lifetime: float
    settle: float
    deadline: float
    published_at: float
    switched_at: float = 0.0
    ended_at: float = 0.0
    signed_until: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no step could be decided by."""
        if self.phase not in PHASES or not isinstance(self.algorithm, str):
            raise ConfigError("phase", f"is {self.phase!r}", "Start again.")
        for each in fields(self)[2:]:
            value = getattr(self, each.name)
            if type(value) not in {int, float} or not 0 <= value < math.inf:
                raise ConfigError(each.name, f"is {value!r}", "Pass seconds.")
        if self.deadline > self.published_at + _YEAR:
            raise ConfigError("deadline", "is over a year away", "Two years of HS256 are no plan.")

    @property
    def signs_with(self) -> str:
        """The algorithm of new tokens."""
        return "HS256" if self.phase == "published" else self.algorithm

    @property
    def legacy_until(self) -> float:
        """What a `DualAlgorithmVerifier` is given as ``until``."""
        if self.phase == "ended":
            return self.ended_at
        if self.phase == "switched":
            return min(self.deadline, self._safe_end)
        return self.deadline

    def obstacle(self, now: float) -> str:
        """Return why the next step cannot be taken at *now*; empty if it can."""
        if self.phase == "published":
            wait = self.published_at + self.settle - now
            if wait > 0:
                return f"verifiers may not know the keys for {wait:.0f} s"
            if now + self.longest_lifetime + _SKEW > self.deadline:
                return "tokens signed until now would outlive the deadline"
            return ""
        if self.phase == "switched":
            wait = self._safe_end - now
            return f"the last HS256 token may live for {wait:.0f} s" if wait > 0 else ""
        return "it has ended"

    def advanced(self, now: float) -> Self:
        """Return the state after the next step.

        Raises:
            ConfigError: There is an `obstacle`.
        """
        obstacle = self.obstacle(now)
        if obstacle:
            raise ConfigError("migration", f"is {self.phase}: {obstacle}", "Wait, or step back.")
        if self.phase == "published":
            return replace(self, phase="switched", switched_at=now)
        return replace(self, phase="ended", ended_at=now)

    def stepped_back(self, now: float) -> Self | None:
        """Return the state before the last step; None: it has not begun.

        Raises:
            ConfigError: Tokens that were signed since would not be known any more.
        """
        if self.phase == "ended":
            return replace(self, phase="switched", ended_at=0.0)
        if self.phase == "switched":
            return replace(self, phase="published", switched_at=0.0, signed_until=now)
        wait = self.signed_until + self.longest_lifetime + _SKEW - now
        if self.signed_until and wait > 0:
            raise ConfigError(
                "migration",
                f"has signed {self.algorithm} tokens that live for {wait:.0f} s",
                "Verify both until then.",
            )
        return None

    def to_json(self) -> bytes:
        """Return it as it is kept."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Return what `to_json` wrote.

        Raises:
            ConfigError: It is something else; no step is decided by it.
        """
        found: dict[str, Any] | None = strict_object(content)
        names = {each.name for each in fields(cls)}
        if found is None or found.pop("format", None) != _FORMAT or set(found) != names:
            raise ConfigError("migration.json", "is damaged", "Remove it, and start again.")
        return cls(**found)

    @property
    def _safe_end(self) -> float:
        return self.switched_at + self.longest_lifetime + _SKEW
