"""Which signature algorithms there are, and which kind of key each one takes.

One key has one algorithm (RFC 8725 section 3.1), and the algorithm comes from the key's owner:
what a token says is compared with it, never followed. ``none`` is not in the list.
"""

from __future__ import annotations

from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, SECP521R1
from jwt.algorithms import Algorithm, get_default_algorithms

from asgi_guard.errors import ConfigError

__all__ = [
    "CURVES",
    "LONGEST_RSA",
    "RSA_ALGORITHMS",
    "SHORTEST_RSA",
    "SHORTEST_SECRET",
    "canonical_algorithm",
    "implementation",
]

LONGEST_RSA: Final = 16384  # bits; a larger modulus is a way to burn processor time
SHORTEST_RSA: Final = 2048  # bits; RFC 7518 section 3.3
# RFC 7518 section 3.2: as long as the hash; a shorter secret is searched offline.
SHORTEST_SECRET: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
CURVES: Final[dict[str, Any]] = {"ES256": SECP256R1, "ES384": SECP384R1, "ES512": SECP521R1}
RSA_ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_ALGORITHMS: Final = frozenset({*SHORTEST_SECRET, *CURVES, *RSA_ALGORITHMS, "EdDSA"})
_ALIASES: Final = {"Ed25519": "EdDSA"}  # RFC 9864 names the curve; RFC 8037 did not
_IMPLEMENTED: Final = get_default_algorithms()


def canonical_algorithm(name: object, *, setting: str = "algorithm") -> str:
    """Return the name by which algorithm *name* is kept: ``EdDSA`` for ``Ed25519``.

    Raises:
        ConfigError: There is no such algorithm; ``none`` is none.
    """
    known = _ALIASES.get(name, name) if isinstance(name, str) else name
    if not isinstance(known, str) or known not in _ALGORITHMS:
        names = ", ".join(sorted(_ALGORITHMS))
        raise ConfigError(setting, f"{name!r} is not supported", f"Use {names}.")
    return known


def implementation(name: str) -> Algorithm:
    """Return PyJWT's arithmetic for one canonical *name*; keys are not its business."""
    found: Any = _IMPLEMENTED[name]
    return found  # type: ignore[no-any-return]  # PyJWT types the values loosely
