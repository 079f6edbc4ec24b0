"""A client with a key, a server that wants proofs, and proofs that no client would make."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import pytest

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth.dpop import DPoPAuthenticator, DPoPNonces, DPoPPolicy, DPoPValidator
from asgi_guard.auth.jose import SigningKey
from asgi_guard.auth.jose.jwk import public_jwk
from asgi_guard.errors import DPoPProofError
from tests.support.exchange import http_scope
from tests.support.jose_tokens import NOW, access_claims, made, signing_key, verifier
from tests.support.tenancy_tokens import b64
from tests.support.tenancy_world import MovedClock

__all__ = [
    "ALL_ALGORITHMS",
    "BASE",
    "NONCE_SECRET",
    "NOW",
    "URL",
    "Reached",
    "authenticator",
    "bound_token",
    "client_key",
    "good_claims",
    "nonces",
    "proof",
    "reason",
    "request",
    "validator",
]

BASE = "https://api.example"
PATH = "/notes"
URL = BASE + PATH
NONCE_SECRET = b"n" * 32
ALL_ALGORITHMS = DPoPPolicy(algorithms=("ES256", "ES384", "ES512", "EdDSA", "RS256", "PS256"))


def client_key(number: int = 0, algorithm: str = "ES256") -> SigningKey:
    """Give the key of a client, never the one that signs tokens."""
    return signing_key(algorithm, number + 100)


def good_claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a good proof; a change to ``...`` takes one out."""
    good = {"jti": "proof-1-of-these-tests", "htm": "GET", "htu": URL, "iat": NOW}
    return {name: value for name, value in {**good, **changes}.items() if value is not ...}


def proof(
    claims: Mapping[str, Any] | bytes | None = None,
    header: Mapping[str, Any] | bytes | None = None,
    *,
    key: SigningKey | None = None,
    token: bytes | None = None,
    **changes: Any,
) -> bytes:
    """Sign a proof; members of *header* replace the usual ones, ``...`` takes one out."""
    signer = client_key() if key is None else key
    jwk = public_jwk(signer.public.public_key)
    usual = {"typ": "dpop+jwt", "alg": signer.algorithm, "jwk": jwk}
    if token is not None:
        changes.setdefault("ath", b64(sha256(token).digest()).decode())
    if not isinstance(header, bytes):
        merged = {**usual, **(header or {})}
        header = json.dumps({k: v for k, v in merged.items() if v is not ...}).encode()
    if not isinstance(claims, bytes):
        claims = json.dumps(good_claims(**changes) if claims is None else claims).encode()
    signing_input = b64(header) + b"." + b64(claims)
    return signing_input + b"." + b64(signer.sign(signing_input))


def bound_token(key: SigningKey | None = None, **changes: Any) -> bytes:
    """Issue an access token that is bound to a client's key."""
    confirmation = {"jkt": (client_key() if key is None else key).kid}
    return made(access_claims(**{"cnf": confirmation, **changes}))


def nonces(**changes: Any) -> DPoPNonces:
    """Build the nonces of these tests."""
    return DPoPNonces(changes.pop("secret", NONCE_SECRET), **{"clock": MovedClock(), **changes})


def validator(**changes: Any) -> DPoPValidator:
    """Build a validator of requests to `BASE`."""
    settings: dict[str, Any] = {"base": BASE, "clock": MovedClock(), **changes}
    settings.setdefault("replay", MemoryStore(clock=settings["clock"]))
    return DPoPValidator(**settings)


def authenticator(judge: DPoPValidator | None = None, **changes: Any) -> DPoPAuthenticator:
    """Build an authenticator for tokens of the tests' issuer."""
    return DPoPAuthenticator(verifier(**changes), validator=judge or validator())


def request(
    *proofs: bytes | str,
    token: bytes | None = None,
    scheme: str = "DPoP",
    path: str = PATH,
    more: Iterable[tuple[str, str]] = (),
    **rest: Any,
) -> dict[str, Any]:
    """Build the scope of a request with *proofs*, and with *token* if there is one."""
    shown = [("dpop", each if isinstance(each, str) else each.decode()) for each in proofs]
    if token is not None:
        shown.append(("authorization", f"{scheme} {token.decode()}"))
    return http_scope(rest.pop("method", "GET"), path, [*shown, *more], **rest)


def reason(
    text: bytes | str,
    judge: DPoPValidator | None = None,
    *,
    method: str = "GET",
    path: str = PATH,
    **rest: Any,
) -> str:
    """Inspect *text*, which must be refused by our error with nothing hanging on it."""
    with pytest.raises(DPoPProofError) as caught:
        (judge or validator()).inspect(request(text, method=method, path=path), **rest)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None, "a decoder's error would quote the proof"
    assert caught.value.status == 401
    return caught.value.reason


class Reached:
    """An app that says who reached it, and how often it was reached."""

    def __init__(self) -> None:
        self.users: list[str | None] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        principal = scope["asgi_guard.principal"]
        self.users.append(None if principal is None else principal.user_id)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})
