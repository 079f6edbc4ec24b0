"""An app with a token endpoint and a resource, both of which want DPoP proofs.

``uvicorn --factory tests.support.dpop_app:worker`` serves one worker of its resource alone.
"""

from __future__ import annotations

import os
from functools import cache
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth import AuthenticationMiddleware, BearerAuthenticator
from asgi_guard.auth.dpop import (
    DPoPAuthenticator,
    DPoPNonces,
    DPoPTokenEndpoint,
    DPoPValidator,
    oauth_error,
)
from asgi_guard.auth.jose import (
    JwtPolicy,
    KeySet,
    KeySource,
    PinnedKey,
    TokenIssuer,
    TokenVerifier,
    VerificationKey,
)
from asgi_guard.errors import DPoPProofError
from asgi_guard.integrations.redis import RedisStore
from asgi_guard.integrations.sql_store import SQLStore
from asgi_guard.protocols import ASGIApp, Authenticator, KeyValueStore, Receive, Scope, Send
from tests.support.jose_tokens import Signer, signing_key
from tests.support.store_kinds import TABLE, engine_for

__all__ = ["CLIENT", "POLICY", "authenticators", "dpop_app", "protected", "worker"]

CLIENT = ("svc", "s" * 32)
POLICY = JwtPolicy(issuer="https://id.example", audience="notes-api", algorithms=("ES256",))


async def _notes(request: Request) -> Response:
    if not request.user.is_authenticated:
        return Response(status_code=401, headers={"www-authenticate": "DPoP"})
    return JSONResponse({"user": request.user.identity, "method": request.method})


def protected(takes: list[Authenticator]) -> ASGIApp:
    """Build the resource: it says who was let in."""
    app = Starlette(routes=[Route("/{any:path}", _notes, methods=["GET", "POST"])])
    return AuthenticationMiddleware(app, authenticators=takes)


def authenticators(
    base: str, store: KeyValueStore, keys: KeySource, policy: JwtPolicy, *, nonce: bool = True
) -> list[Authenticator]:
    """Take tokens with proofs, and bearer tokens besides."""
    verifier = TokenVerifier(policy, keys=keys)
    nonces = DPoPNonces(b"r" * 32, name="resource") if nonce else None
    judge = DPoPValidator(replay=store, base=base, nonces=nonces, insecure_allow_http=True)
    return [DPoPAuthenticator(verifier, validator=judge), BearerAuthenticator(verifier)]


def dpop_app(base: str, store: KeyValueStore) -> ASGIApp:
    """Build the whole app for the address *base*."""
    signer = signing_key()
    issuer = TokenIssuer(POLICY, keys=Signer(signer))
    endpoint = DPoPTokenEndpoint(
        DPoPValidator(
            replay=store,
            base=base,
            nonces=DPoPNonces(b"t" * 32, name="tokens"),
            insecure_allow_http=True,
        ),
        required=True,
    )

    async def token(request: Request) -> Response:
        form = parse_qs((await request.body()).decode())
        if (form["client_id"][0], form["client_secret"][0]) != CLIENT:
            return JSONResponse({"error": "invalid_client"}, 401)
        try:
            binding = await endpoint.bind(request.scope)
        except DPoPProofError as refusal:
            status, headers, body = oauth_error(refusal)
            return Response(body, status, headers)
        issued = await issuer.issue_access(CLIENT[0], client_id=CLIENT[0], claims=binding.claims)
        answer = {"access_token": issued.token.reveal(), "token_type": binding.token_type}
        headers = {name.decode(): value.decode() for name, value in binding.headers}
        return JSONResponse(answer, headers={"cache-control": "no-store", **headers})

    resource = protected(authenticators(base, store, KeySet([signer.public]), POLICY))
    tokens = Starlette(routes=[Route("/token", token, methods=["POST"])])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        inner = tokens if scope["path"] == "/token" else resource
        await inner(scope, receive, send)

    return app


def worker() -> ASGIApp:
    """Build the resource as one of several processes does, without nonces.

    The first segment of the path names its store, so that one pair of workers does for all.
    """
    key = VerificationKey(os.environ["DPOP_KEY"], algorithm="ES256")

    @cache
    def resource(segment: str) -> ASGIApp:
        kind, _, address = bytes.fromhex(segment).decode().partition(" ")
        store = _store(kind, address)
        base = os.environ["DPOP_BASE"]
        return protected(authenticators(base, store, PinnedKey(key), POLICY, nonce=False))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await resource(scope["path"].split("/")[1])(scope, receive, send)

    return app


def _store(kind: str, address: str) -> KeyValueStore:
    if kind == "redis":
        return RedisStore(address)
    if kind == "memory":
        return MemoryStore()
    return SQLStore(engine_for(kind, address), TABLE)
