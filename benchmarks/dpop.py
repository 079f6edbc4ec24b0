"""What checking a DPoP proof costs, against bare PyJWT on the same signature.

The baseline is ``jwt.decode`` of the proof with an EC key that was parsed beforehand: one ES256
verification, and claims that nobody looks at. "proof" is all of `DPoPValidator.inspect`: strict
parsing, the key of the header (known, as a client's second request finds it), address, times and
the hash of the token. "new key" meets each key for the first time. "proof with memory" remembers
each use as well, in memory. "request" is a whole `DPoPAuthenticator`: with the access token, that
it has verified before.

    python benchmarks/dpop.py [--rounds 60] [--repeat 50] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from itertools import cycle
from time import time
from typing import Any

import jwt
from harness import Contender, Work, interleave, print_table, save
from tokens import AUDIENCE, ISSUER, OneKey

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth.dpop import DPoPAuthenticator, DPoPPolicy, DPoPProver, DPoPValidator
from asgi_guard.auth.jose import JwtPolicy, KeySet, SigningKey, TokenIssuer, TokenVerifier

URL = "https://api.example/notes/42"
PROOF_LIMIT = 1.5
REQUEST_LIMIT = 2.0
NEW_KEYS = 1500  # more than a validator keeps


def scope_of(proof: str, token: str) -> dict[str, Any]:
    """Build the scope of a request, as a server would."""
    return {
        "type": "http",
        "method": "GET",
        "path": "/notes/42",
        "raw_path": b"/notes/42",
        "root_path": "",
        "headers": [
            (b"host", b"api.example"),
            (b"accept", b"application/json"),
            (b"authorization", b"DPoP " + token.encode()),
            (b"dpop", proof.encode()),
        ],
    }


def pyjwt(proof: str) -> Work:
    """Verify the signature as PyJWT's documentation shows."""
    public = jwt.PyJWK(jwt.get_unverified_header(proof)["jwk"], "ES256")

    async def work(repeat: int) -> None:
        for _ in range(repeat):
            jwt.decode(proof, public, algorithms=["ES256"])

    return work


def inspect(validator: DPoPValidator, scopes: Iterator[dict[str, Any]]) -> Work:
    """Check the next proof, and remember nothing."""

    async def work(repeat: int) -> None:
        for _ in range(repeat):
            scope = next(scopes)
            validator.inspect(scope, access_token=scope["headers"][2][1][5:])

    return work


def validate(validator: DPoPValidator, scopes: Iterator[dict[str, Any]]) -> Work:
    """Check the next proof, and that it was not used before."""

    async def work(repeat: int) -> None:
        for _ in range(repeat):
            scope = next(scopes)
            await validator.validate(scope, access_token=scope["headers"][2][1][5:])

    return work


def authenticate(authenticator: DPoPAuthenticator, scopes: Iterator[dict[str, Any]]) -> Work:
    """Serve the next request as the middleware does."""

    async def work(repeat: int) -> None:
        for _ in range(repeat):
            await authenticator.authenticate(next(scopes))

    return work


async def main() -> int:
    """Print the table; 1 if a promise does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--repeat", type=int, default=50)
    parser.add_argument("--json", action="store_true", help="write benchmarks/results/dpop.json")
    options = parser.parse_args()

    key = SigningKey.generate("ES256")
    policy = JwtPolicy(issuer=ISSUER, audience=AUDIENCE, algorithms=("ES256",))
    prover = await DPoPProver.generate()
    issuer = TokenIssuer(policy, keys=OneKey(key))
    claims = {"cnf": {"jkt": prover.thumbprint}}
    issued = await issuer.issue_access("alice", client_id="web", claims=claims)
    token = issued.token.reveal()
    used_once = 2 * (options.rounds + 2) * options.repeat
    proofs = [await prover.proof("GET", URL, access_token=token) for _ in range(used_once)]
    strangers = [await DPoPProver.generate() for _ in range(NEW_KEYS)]
    firsts = [await each.proof("GET", URL, access_token=token) for each in strangers]

    verifier = TokenVerifier(policy, keys=KeySet([key.public]))
    store = MemoryStore(max_entries=used_once + 1)
    lasting = DPoPPolicy(max_age=600)  # the proofs are made beforehand
    validator = DPoPValidator(base="https://api.example", replay=store, policy=lasting)
    authenticator = DPoPAuthenticator(verifier, validator=validator)
    fresh = iter([scope_of(each, token) for each in proofs])
    known = cycle([scope_of(proofs[0], token)])
    unknown = cycle([scope_of(each, token) for each in firsts])

    started = time()
    rows = await interleave(
        [
            Contender("bare PyJWT, one ES256 signature", pyjwt(proofs[0])),
            Contender("proof", inspect(validator, known), PROOF_LIMIT),
            Contender("proof, new key", inspect(validator, unknown)),
            Contender("proof with memory", validate(validator, fresh)),
            Contender("request", authenticate(authenticator, fresh), REQUEST_LIMIT),
        ],
        rounds=options.rounds,
        repeat=options.repeat,
    )
    print_table("ES256, against bare PyJWT", rows)
    print(f"\n{time() - started:.0f} s")
    if options.json:
        save("dpop", {"proofs": rows})
    return 0 if all(row["holds"] is not False for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
