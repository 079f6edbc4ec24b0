"""What verifying a token costs: cold, cached, and in bare PyJWT, joserfc and Authlib.

All verify one RS256 access token of 800 bytes with issuer, audience and times, by an RSA key
that was parsed beforehand. "cold" is a `TokenVerifier` without memory: strict parsing, claims,
principal and read-only copies included. "cached" is the same verifier on a token it has seen.
Peers take part when they are installed.

    python benchmarks/tokens.py [--rounds 60] [--repeat 50] [--bits 2048] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from harness import Contender, Work, interleave, print_table, save

from asgi_guard.auth.jose import JwtPolicy, KeySet, SigningKey, TokenIssuer, TokenVerifier

ISSUER, AUDIENCE = "https://id.example", "notes-api"
COLD_LIMIT = 1.25
CACHED_LIMIT = 1 / 20


class OneKey:
    """A source of one signing key."""

    grace = 86_400.0

    def __init__(self, key: SigningKey) -> None:
        self.key = key

    def signing_key(self) -> SigningKey:
        """Return it."""
        return self.key


def looped(verify: Callable[[], object]) -> Work:
    """Make *verify* a contender's work."""

    async def work(repeat: int) -> None:
        for _ in range(repeat):
            verify()

    return work


def ours(verifier: TokenVerifier, token: bytes) -> Work:
    """Verify as a middleware does."""

    async def work(repeat: int) -> None:
        for _ in range(repeat):
            await verifier.verify(token)

    return work


def pyjwt(key: SigningKey, token: str) -> Work:
    """Verify as PyJWT's documentation shows."""
    public = key.public.public_key

    def verify() -> object:
        return jwt.decode(
            token,
            public,
            algorithms=["RS256"],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={"require": ["exp", "iat", "iss", "aud", "sub", "jti"]},
        )

    return looped(verify)


def joserfc(key: SigningKey, token: str) -> Work:
    """Verify as joserfc's documentation shows."""
    from joserfc import jwt as peer  # noqa: PLC0415 - optional
    from joserfc.jwk import RSAKey  # noqa: PLC0415 - optional

    public = RSAKey.import_key(pem(key))
    registry: Any = peer.JWTClaimsRegistry(
        iss={"essential": True, "value": ISSUER}, aud={"essential": True, "value": AUDIENCE}
    )

    def verify() -> object:
        return registry.validate(peer.decode(token, public, algorithms=["RS256"]).claims)

    return looped(verify)


def authlib(key: SigningKey, token: str) -> Work:
    """Verify as Authlib's documentation shows."""
    from authlib.jose import JsonWebKey, JsonWebToken  # noqa: PLC0415 - optional

    public = JsonWebKey.import_key(pem(key), {"kty": "RSA"})
    peer = JsonWebToken(["RS256"])
    options = {
        "iss": {"essential": True, "value": ISSUER},
        "aud": {"essential": True, "value": AUDIENCE},
    }
    return looped(lambda: peer.decode(token, public, claims_options=options).validate())


def pem(key: SigningKey) -> bytes:
    """Return the public key as a file has it."""
    public: Any = key.public.public_key
    return bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


async def main() -> int:
    """Print the tables; 1 if a promise does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--repeat", type=int, default=50)
    parser.add_argument("--bits", type=int, default=2048)
    parser.add_argument("--json", action="store_true", help="write benchmarks/results/tokens.json")
    options = parser.parse_args()

    key = SigningKey.generate("RS256", rsa_bits=options.bits)
    policy = JwtPolicy(issuer=ISSUER, audience=AUDIENCE, access_lifetime=86_400)
    keys = OneKey(key)
    keys.grace = 100_000.0
    issued = await TokenIssuer(policy, keys=keys).issue_access(
        "alice", client_id="web", tenant_id="acme", roles=["staff"], scopes=["notes:read"]
    )
    text = issued.token.reveal()
    known = KeySet([key.public])
    cold = ours(TokenVerifier(policy, keys=known, cache_size=0), text.encode())
    cached = ours(TokenVerifier(policy, keys=known), text.encode())
    peers = []
    for name, build in (("joserfc", joserfc), ("Authlib", authlib)):
        with suppress(ImportError):
            peers.append(Contender(name, build(key, text)))

    started = time()
    against_peers = await interleave(
        [Contender("bare PyJWT", pyjwt(key, text)), Contender("cold", cold, COLD_LIMIT), *peers],
        rounds=options.rounds,
        repeat=options.repeat,
    )
    against_cold = await interleave(
        [Contender("cold", cold), Contender("cached", cached, CACHED_LIMIT)],
        rounds=options.rounds,
        repeat=options.repeat,
    )
    print_table(f"RS256, {options.bits} bits, against bare PyJWT", against_peers)
    print_table("cached against cold", against_cold)
    print(f"\n{time() - started:.0f} s")
    if options.json:
        save("tokens", {"peers": against_peers, "cache": against_cold})
    return 0 if all(row["holds"] is not False for row in [*against_peers, *against_cold]) else 1


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
