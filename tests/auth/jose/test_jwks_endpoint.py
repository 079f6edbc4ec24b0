"""The JWKS endpoint: public keys only, cacheable, and quiet about everything else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from asgi_guard.auth.jose import JWKSEndpoint, KeyManager
from asgi_guard.auth.jose.jwk import verification_key_of
from tests.support.exchange import ask, handshake, http_scope, websocket_scope
from tests.support.tenancy_world import MovedClock

PUBLIC = {"alg", "kid", "use", "kty", "n", "e", "crv", "x", "y"}


async def opened(folder: Path, algorithm: str = "ES256") -> KeyManager:
    """Return a manager with a signing and a published key."""
    keys = KeyManager(folder / algorithm, algorithm=algorithm, rsa_bits=2048, clock=MovedClock())
    await keys.open()
    await keys.rotate()
    return keys


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_it_publishes_public_members_and_never_a_private_one(
    tmp_path: Path, algorithm: str
) -> None:
    """RFC 7517 section 5, RFC 7518 section 6; and a verifier can read it."""
    keys = await opened(tmp_path, algorithm)

    answer = await ask(JWKSEndpoint(keys), http_scope())
    document = json.loads(answer.body)

    assert answer.status == 200
    assert answer.header("content-type") == "application/jwk-set+json"
    assert answer.header("cache-control") == "public, max-age=300"
    assert len(document["keys"]) == 2
    for jwk in document["keys"]:
        assert set(jwk) <= PUBLIC
        assert keys.find(jwk["kid"], algorithm) is not None
        assert verification_key_of(jwk, algorithm=algorithm).kid == jwk["kid"]


async def test_whoever_has_it_is_told_so(tmp_path: Path) -> None:
    """RFC 9110 section 13.1.2: weak comparison, lists, several lines, and the star."""
    keys = await opened(tmp_path)
    endpoint = JWKSEndpoint(keys)
    etag = (await ask(endpoint, http_scope())).header("etag") or ""

    for asked in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        answer = await ask(endpoint, http_scope(headers=[("if-none-match", asked)]))
        assert (answer.status, answer.body) == (304, b"")
        assert answer.header("etag") == etag
        assert answer.header("cache-control") == "public, max-age=300"
    lines = [("if-none-match", '"x"'), ("if-none-match", etag)]
    assert (await ask(endpoint, http_scope(headers=lines))).status == 304
    for asked in ('"x"', etag.strip('"'), ""):
        answer = await ask(endpoint, http_scope(headers=[("if-none-match", asked)]))
        assert answer.status == 200

    await keys.rotate(immediately=True)
    await keys.revoke(keys.signing_key().kid)
    answer = await ask(endpoint, http_scope(headers=[("if-none-match", etag)]))
    assert answer.status == 200, "a revocation is a new document"


async def test_other_methods_and_websockets_get_nothing(tmp_path: Path) -> None:
    """And HEAD gets what GET would, without the body."""
    endpoint = JWKSEndpoint(await opened(tmp_path))

    head = await ask(endpoint, http_scope("HEAD"))
    assert (head.status, head.body) == (200, b"")
    assert int(head.header("content-length") or 0) > 100
    refused = await ask(endpoint, http_scope("POST"))
    assert (refused.status, refused.header("allow")) == (405, "GET, HEAD")
    assert (await handshake(endpoint, websocket_scope())).sent[0]["type"] == "websocket.close"


async def test_a_manager_that_is_not_open_is_a_503(tmp_path: Path) -> None:
    """Verifiers keep what they have, and come back."""
    answer = await ask(JWKSEndpoint(KeyManager(tmp_path)), http_scope())

    assert answer.status == 503
    assert answer.header("cache-control") == "no-store"


async def test_it_is_a_route_of_starlette(tmp_path: Path) -> None:
    """As an endpoint, at the well-known place."""
    endpoint = JWKSEndpoint(await opened(tmp_path))
    app = Starlette(routes=[Route("/.well-known/jwks.json", endpoint)])

    assert (await ask(app, http_scope(path="/.well-known/jwks.json"))).status == 200
