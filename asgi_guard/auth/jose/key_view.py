"""KeyView: one state of a key ring, arranged for the hot path."""

from __future__ import annotations

from dataclasses import dataclass

from asgi_guard.auth.jose.jwks_document import JWKSDocument
from asgi_guard.auth.jose.key_ring import KeyRing, RotationTimes
from asgi_guard.auth.jose.verification_key import VerificationKey

__all__ = ["KeyStatus", "KeyView"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStatus:
    """What an operator may know of a key.

    Args:
        kid: Its thumbprint.
        algorithm: What it signs with.
        state: ``"next"`` (published, does not sign yet), ``"signing"`` or ``"grace"``.
        created: Unix seconds.
        signs_from: Unix seconds.
        verifies_until: Unix seconds; infinity until its successor is known.
    """

    kid: str
    algorithm: str
    state: str
    created: float
    signs_from: float
    verifies_until: float


class KeyView:
    """A key ring that does not change, with what is asked of it computed beforehand.

    Args:
        ring: The keys.
        times: Until when they verify.
    """

    __slots__ = ("_by_kid", "_documents", "_ends", "ring")

    def __init__(self, ring: KeyRing, times: RotationTimes) -> None:
        self.ring = ring
        self._ends = ring.ends(times)
        self._by_kid = {each.kid: (each.key.public, self._ends[each.kid]) for each in ring.keys}
        self._documents: dict[int, JWKSDocument] = {}

    def find(self, kid: str | None, now: float) -> VerificationKey | None:
        """Return the key called *kid* unless its grace is over."""
        found = self._by_kid.get(kid) if kid is not None else None
        return found[0] if found is not None and now < found[1] else None

    def has_ended(self, now: float) -> bool:
        """Tell whether a key's grace is over."""
        return any(end <= now for end in self._ends.values())

    def document(self, now: float) -> JWKSDocument:
        """Return the JWK Set of the keys that verify at *now* or later."""
        alive = [each.key for each in self.ring.keys if now < self._ends[each.kid]]
        # Keys end in order, so their number says which they are.
        if len(alive) not in self._documents:
            self._documents[len(alive)] = JWKSDocument([key.jwk for key in alive])
        return self._documents[len(alive)]

    def status(self, now: float) -> tuple[KeyStatus, ...]:
        """Return what is known of each key, oldest first."""
        signer = self.ring.signer(now)
        return tuple(
            KeyStatus(
                kid=each.kid,
                algorithm=each.key.algorithm,
                state=_state(each.signs_from > now, each is signer),
                created=each.created,
                signs_from=each.signs_from,
                verifies_until=self._ends[each.kid],
            )
            for each in self.ring.keys
        )


def _state(is_next: bool, is_signer: bool) -> str:  # noqa: FBT001 - two facts, read in one place
    if is_next:
        return "next"
    return "signing" if is_signer else "grace"
