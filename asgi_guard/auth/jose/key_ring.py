"""KeyRing: the signing keys of a service and when each signs, verifies and goes. Pure.

One key signs at a time. Its successor is published before it signs, so that no verifier meets an
unknown ``kid``; and it verifies for a grace after it ceased, so that no token dies with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from asgi_guard.auth.jose.signing_key import SigningKey
from asgi_guard.errors import ConfigError

__all__ = ["KeyRing", "RingKey", "RotationTimes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationTimes:
    """How long keys live, in seconds.

    Args:
        rotate_every: For how long a key signs.
        publish_ahead: How long before it signs a key is published; longer than any verifier
            keeps a JWKS document.
        grace: For how long a key verifies after it ceased to sign; at least as long as the
            longest token lives.

    Raises:
        ConfigError: A time is not positive, or a key would be published after it signs.
    """

    rotate_every: float
    publish_ahead: float
    grace: float

    def __post_init__(self) -> None:
        """Refuse times that would leave a gap."""
        for name in ("rotate_every", "publish_ahead", "grace"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(name, f"is {getattr(self, name)!r}", "Pass positive seconds.")
        if self.publish_ahead >= self.rotate_every:
            raise ConfigError("publish_ahead", "is not shorter than rotate_every", "Shorten it.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RingKey:
    """One key and its times, in Unix seconds.

    Args:
        key: The key itself.
        created: When it was made, and so published.
        signs_from: When it begins to sign.
    """

    key: SigningKey
    created: float
    signs_from: float

    @property
    def kid(self) -> str:
        """Its name."""
        return self.key.kid


@dataclass(frozen=True, slots=True)
class KeyRing:
    """All keys, in the order in which they sign, and what was revoked.

    Args:
        keys: By ``signs_from``.
        revoked: When, by ``kid``: the keys are gone, their names stay, so that no escrow brings
            one back.
    """

    keys: tuple[RingKey, ...] = ()
    revoked: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Put the keys in order."""
        object.__setattr__(self, "keys", tuple(sorted(self.keys, key=lambda k: k.signs_from)))

    def signer(self, now: float) -> RingKey | None:
        """Return the key that signs at *now*: the latest that has begun."""
        begun = [each for each in self.keys if each.signs_from <= now]
        return begun[-1] if begun else None

    def ends(self, times: RotationTimes) -> dict[str, float]:
        """Return until when each key verifies; the last has no end yet."""
        ends = [each.signs_from + times.grace for each in self.keys[1:]]
        return dict(zip([each.kid for each in self.keys], [*ends, math.inf], strict=False))

    def is_due(self, now: float, times: RotationTimes) -> bool:
        """Tell whether a key must be made: there is no signer, or its successor should be out."""
        if self.signer(now) is None:
            return True
        return now >= self.keys[-1].signs_from + times.rotate_every - times.publish_ahead

    def next_start(self, now: float, times: RotationTimes) -> float:
        """Return when a key that is made at *now* begins to sign.

        After a long pause it is late, and still published ahead of time; the old one goes on.
        """
        if self.signer(now) is None:
            return now
        return max(self.keys[-1].signs_from + times.rotate_every, now + times.publish_ahead)

    def with_key(self, key: SigningKey, *, now: float, signs_from: float) -> Self:
        """Return a ring with one more key."""
        added = RingKey(key=key, created=now, signs_from=signs_from)
        return replace(self, keys=(*self.keys, added))

    def starting_now(self, now: float) -> Self:
        """Return a ring whose next key, published already, signs from *now*; or this one."""
        later = [each for each in self.keys if each.signs_from > now]
        if not later:
            return self
        kept = tuple(each for each in self.keys if each is not later[0])
        return replace(self, keys=(*kept, replace(later[0], signs_from=now)))

    def without(self, kid: str, *, now: float) -> Self:
        """Return a ring from which *kid* was revoked.

        Raises:
            ConfigError: There is no such key.
        """
        kept = tuple(each for each in self.keys if each.kid != kid)
        if len(kept) == len(self.keys):
            raise ConfigError("kid", f"{kid!r} is no key of this folder", "See: keys list.")
        return replace(self, keys=kept, revoked={**self.revoked, kid: now})

    def pruned(self, now: float, times: RotationTimes) -> Self:
        """Return a ring without the keys whose grace is over; this one if there are none."""
        ends = self.ends(times)
        kept = tuple(each for each in self.keys if now < ends[each.kid])
        return self if len(kept) == len(self.keys) else replace(self, keys=kept)
