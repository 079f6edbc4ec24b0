"""DPoPPolicy: which proofs are taken, as one value without any I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from asgi_guard.auth.jose.algorithms import SHORTEST_SECRET, canonical_algorithm
from asgi_guard.errors import ConfigError

__all__ = ["DPoPPolicy"]

_LONGEST_AGE: Final = 600
_LONGEST_SKEW: Final = 300
_LONGEST_PROOF: Final = 16 * 1024
_LONGEST_JTI: Final = 1024
_SHORTEST_JTI: Final = 12  # 96 random bits need 16 characters; some libraries write hexadecimal


@dataclass(frozen=True, slots=True, kw_only=True)
class DPoPPolicy:
    """What a proof must be (RFC 9449 sections 4.3 and 11.1).

    Args:
        algorithms: Accepted ``alg`` names, asymmetric ones only.
        max_age: Seconds after its ``iat`` for which a proof is accepted, 1 to 600.
        skew: Seconds by which clocks may differ, in both directions, 0 to 300.
        longest_proof: Most bytes of a proof that are looked at.
        longest_jti: Most characters of a ``jti``.

    Raises:
        ConfigError: A value is empty, symmetric, or looser than the limits above.
    """

    algorithms: tuple[str, ...] = ("ES256", "EdDSA")
    max_age: int = 60
    skew: int = 30
    longest_proof: int = 8 * 1024
    longest_jti: int = 256

    def __post_init__(self) -> None:
        """Refuse what would accept anybody's proof, or any proof for ever."""
        if not isinstance(self.algorithms, tuple) or not self.algorithms:
            raise ConfigError("algorithms", f"is {self.algorithms!r}", 'Pass e.g. ("ES256",).')
        names = tuple(canonical_algorithm(each, setting="algorithms") for each in self.algorithms)
        symmetric = sorted(set(names) & set(SHORTEST_SECRET))
        if symmetric:
            raise ConfigError(
                "algorithms", f"names {symmetric[0]}", "A proof is asymmetric: use ES256 or EdDSA."
            )
        object.__setattr__(self, "algorithms", tuple(dict.fromkeys(names)))
        for name, least, most in (
            ("max_age", 1, _LONGEST_AGE),
            ("skew", 0, _LONGEST_SKEW),
            ("longest_proof", 1, _LONGEST_PROOF),
            ("longest_jti", _SHORTEST_JTI, _LONGEST_JTI),
        ):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise ConfigError(name, f"is {value!r}", f"Pass {least} to {most}.")

    @property
    def window(self) -> int:
        """Seconds for which one proof may be accepted, from the earliest to the latest clock."""
        return self.max_age + 2 * self.skew

    @property
    def names(self) -> str:
        """The algorithms as a challenge lists them (RFC 9449 section 7.1)."""
        return " ".join(self.algorithms)

    def takes(self, name: object) -> bool:
        """Tell whether the ``alg`` of a proof is accepted; ``Ed25519`` is EdDSA by RFC 9864."""
        known = "EdDSA" if name == "Ed25519" else name
        return isinstance(known, str) and known in self.algorithms
