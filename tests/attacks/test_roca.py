"""CVE-2017-15361: keys of a faulty chip are still in use, and can be factored."""

from __future__ import annotations

from math import prod

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from asgi_guard.auth.jose import SigningKey, VerificationKey
from asgi_guard.auth.jose.roca import is_roca_modulus
from asgi_guard.errors import ConfigError

PRIMES = [n for n in range(2, 702) if all(n % d for d in range(2, n))]


def faulty_modulus() -> int:
    """Build a number of the shape that the chip's primes had: k * M + 65537**a mod M."""
    primorial = prod(PRIMES)
    first, second = (
        factor * primorial + pow(65537, exponent, primorial)
        for factor, exponent in ((3**37, 123456789), (5**25 + 1, 987654321))
    )
    return first * second


def test_a_key_of_the_faulty_generator_is_refused() -> None:
    """Whoever publishes such a key lets anybody sign in its name."""
    modulus = faulty_modulus()
    assert modulus.bit_length() >= 2048

    with pytest.raises(ConfigError, match="CVE-2017-15361"):
        VerificationKey(rsa.RSAPublicNumbers(65537, modulus).public_key(), algorithm="RS256")


def test_other_keys_bear_no_such_mark() -> None:
    """A good key that is refused is an outage."""
    key = SigningKey.generate("RS256", rsa_bits=2048).public.public_key

    assert not is_roca_modulus(key.public_numbers().n)
    assert not any(is_roca_modulus(faulty_modulus() + 2 * number) for number in range(1, 2000))
