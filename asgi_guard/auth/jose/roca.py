"""RSA keys that a faulty chip generated, recognised by their modulus (ROCA, CVE-2017-15361).

Infineon's library chose primes that are, modulo each small prime, a power of 65537. So is their
product, while a random modulus is one for all of these primes with a probability of about 2**-28
(Nemec, Sys, Svenda, Klinec, Matyas: The Return of Coppersmith's Attack, section 2.2). Such a key
of 2048 bits can be factored.
"""

from __future__ import annotations

from math import prod
from typing import Final

__all__ = ["is_roca_modulus"]

_GENERATOR: Final = 65537
_HIGHEST: Final = 167
_PRIMES: Final = tuple(
    number
    for number in range(3, _HIGHEST + 1, 2)
    if all(number % divisor for divisor in range(3, int(number**0.5) + 1, 2))
)
_PRODUCT: Final = prod(_PRIMES)
_POWERS: Final = tuple(
    (prime, frozenset(pow(_GENERATOR, each, prime) for each in range(prime - 1)))
    for prime in _PRIMES
)


def is_roca_modulus(modulus: int) -> bool:
    """Tell whether *modulus* bears the fingerprint of the faulty generator."""
    rest = modulus % _PRODUCT  # one division of a large number instead of forty
    return all(rest % prime in powers for prime, powers in _POWERS)
