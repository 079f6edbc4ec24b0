"""With others: panva's openid-client at our servers, our client at his oidc-provider."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import pytest

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth.dpop import DPoPClient, DPoPProver
from asgi_guard.auth.jose import JwtPolicy, RemoteKeys
from asgi_guard.integrations.httpx import HTTPXFetch
from asgi_guard.protocols import ASGIApp, FetchResponse
from tests.support.dpop_app import CLIENT, authenticators, dpop_app, protected
from tests.support.headers_node import run_grader
from tests.support.node_oidc import OIDCProvider
from tests.support.node_oidc.launcher import node_oidc_parts
from tests.support.tenancy_server import serving

pytestmark = pytest.mark.timeout(400)  # the first run installs what node needs

API = "https://api.example"
FETCH = HTTPXFetch(allow_addresses=["127.0.0.1"], insecure_allow_http=True)


@asynccontextmanager
async def served(build: Callable[[str], ASGIApp]) -> AsyncIterator[str]:
    """Serve the app that *build* makes for its own address."""
    built: list[ASGIApp] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await built[0](scope, receive, send)

    async with serving(app) as port:
        base = f"http://127.0.0.1:{port}"
        built.append(build(base))
        yield base


@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519"])
async def test_openid_client_gets_a_token_of_ours_and_uses_it(algorithm: str) -> None:
    """Both endpoints ask for their own nonce first; ``openid-client`` sends it and is let in."""
    async with served(lambda base: dpop_app(base, MemoryStore())) as base:
        given = {
            "token_endpoint": f"{base}/token",
            "resource": base,
            "client_id": CLIENT[0],
            "client_secret": CLIENT[1],
            "algorithm": algorithm,
        }
        said = await run_grader(node_oidc_parts(), "dpop_client.mjs", json.dumps(given))

    assert said["token_type"].lower() == "dpop"
    for name in ("get", "query", "encoded", "post"):
        assert said[name]["status"] == 200, (name, said[name])
    assert json.loads(said["post"]["body"]) == {"user": "svc", "method": "POST"}
    assert said["stolen"]["status"] == 401
    assert said["bearer"]["status"] == 401
    assert [each["scheme"] for each in said["stolen"]["challenges"]] == ["dpop", "bearer"]
    assert said["stolen"]["challenges"][0]["error"] == "invalid_dpop_proof"
    assert {each["scheme"] for each in said["bearer"]["challenges"]} == {"dpop", "bearer"}


@pytest.fixture(scope="module")
def provider(oidc_provider: Callable[..., OIDCProvider]) -> OIDCProvider:
    service = {
        "client_id": CLIENT[0],
        "client_secret": CLIENT[1],
        "grant_types": ["client_credentials"],
        "redirect_uris": [],
        "response_types": [],
        "token_endpoint_auth_method": "client_secret_post",
        "dpop_bound_access_tokens": True,
    }
    return oidc_provider(
        clients=[service], algorithms=["ES256"], resources={API: {}}, dpop_nonce=True
    )


async def token_from(provider: OIDCProvider, client: DPoPClient) -> dict[str, Any]:
    form = {
        "grant_type": "client_credentials",
        "client_id": CLIENT[0],
        "client_secret": CLIENT[1],
        "resource": API,
        "scope": "read",
    }
    answer = await client.request(
        "POST",
        f"{provider.issuer}/token",
        headers={"content-type": "application/x-www-form-urlencoded"},
        body=urlencode(form).encode(),
    )
    assert answer.status == 200, answer.body
    token: dict[str, Any] = json.loads(answer.body)
    return token


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
async def test_our_client_gets_a_token_of_oidc_provider_and_our_server_takes_it(
    algorithm: str, provider: OIDCProvider
) -> None:
    """Token endpoint and resource each ask for a nonce; the client answers both by itself."""
    client = DPoPClient(await DPoPProver.generate(algorithm), fetch=FETCH)
    thief = DPoPClient(await DPoPProver.generate(algorithm), fetch=FETCH)
    provider.calls()
    token = await token_from(provider, client)
    assert (token["token_type"], provider.calls()) == ("DPoP", ["POST /token"] * 2)
    assert await token_from(provider, client)
    assert provider.calls() == ["POST /token"], "the nonce is remembered"

    policy = JwtPolicy(
        issuer=provider.issuer, audience=API, algorithms=("ES256",), access_lifetime=3600
    )
    keys = RemoteKeys(
        f"{provider.issuer}/jwks", fetch=FETCH, algorithms=("ES256",), insecure_allow_http=True
    )

    def build(base: str) -> ASGIApp:
        return protected(authenticators(base, MemoryStore(), keys, policy))

    async with served(build) as base:

        async def get(who: DPoPClient) -> FetchResponse:
            return await who.request("GET", f"{base}/notes", access_token=token["access_token"])

        assert json.loads((await get(client)).body)["user"] == CLIENT[0]
        assert (await get(thief)).status == 401
        bearer = {"authorization": f"Bearer {token['access_token']}"}
        stolen = await FETCH("GET", f"{base}/notes", headers=bearer, max_bytes=4096)
        assert stolen.status == 401
