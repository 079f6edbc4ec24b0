"""The page of DPoP runs: its client gets a token from its endpoint, and its server lets it in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth import AuthenticationMiddleware
from asgi_guard.auth.dpop import CHECKS, DPoPPolicy, DPoPTokenEndpoint, DPoPValidator
from asgi_guard.auth.jose import JwtPolicy, KeySet, SigningKey, TokenIssuer, TokenVerifier
from asgi_guard.protocols import ASGIApp, FetchResponse
from tests.support.dpop_world import Reached
from tests.support.exchange import ask, http_scope
from tests.support.jose_tokens import Signer
from tests.support.pages import Page

PAGE = Page("dpop.md")
ROOM = Path(__file__).resolve().parents[2] / "asgi_guard" / "auth" / "dpop"
REASON = re.compile(r'(?:refuse|AuthenticationError)\(\s*"(\w+)"|"(proof_nonce_\w+)"')


def over(app: ASGIApp) -> Any:
    """Fetch from *app*, as if it were served at https://api.example."""

    async def fetch(
        method: str, url: str, *, headers: Mapping[str, str], body: bytes = b"", max_bytes: int
    ) -> FetchResponse:
        del max_bytes
        path = url.removeprefix("https://api.example")
        answer = await ask(app, http_scope(method, path, dict(headers)), body)
        return FetchResponse(status=answer.status, headers=dict(answer.headers), body=answer.body)

    return fetch


async def test_the_page_of_dpop_runs() -> None:
    """A token that the endpoint bound to the client's key opens the resource for that key."""
    names = PAGE.run()
    policy = JwtPolicy(issuer="https://id.example", audience="notes", algorithms=("ES256",))
    key = SigningKey.generate("ES256")
    issuer = TokenIssuer(policy, keys=Signer(key))
    verifier = TokenVerifier(policy, keys=KeySet([key.public]))
    endpoint = DPoPTokenEndpoint(
        DPoPValidator(base="https://api.example", replay=MemoryStore()), required=True
    )

    async def tokens(scope: Any, receive: Any, send: Any) -> None:
        response = await names["answer"](Request(scope, receive), endpoint, issuer, None)
        await response(scope, receive, send)

    prover = await names["DPoPProver"].generate()
    asker = names["DPoPClient"](prover, fetch=over(tokens))
    granted = await asker.request("POST", "https://api.example/token")
    assert granted.status == 200
    token = re.search(rb'"access_token":"([^"]+)"', granted.body)
    assert token is not None

    reached = Reached()
    takes = [names["dpop"](verifier, MemoryStore())]
    resource = over(AuthenticationMiddleware(reached, authenticators=takes))
    client = names["DPoPClient"](prover, fetch=resource)
    notes = "https://api.example/notes"
    assert (await client.request("GET", notes, access_token=token[1].decode())).status == 200
    assert reached.users == ["alice"]
    assert (await names["read_notes"](resource, token[1].decode())).status == 401, "another key"


def test_the_page_of_dpop_has_every_check_and_every_reason() -> None:
    """An operator finds the reason of the event that woke them."""
    code = "".join(file.read_text() for file in ROOM.glob("*.py"))
    reasons = {name for found in REASON.findall(code) for name in found if name}
    reasons |= {f"proof_{name}_malformed" for name in ("jti", "htm", "htu", "iat")}
    internal = {"duplicate_authorization", "token_malformed", "token_not_for_access"}

    assert {"proof_replayed", "proof_nonce_stale", "token_not_bound"} <= reasons
    assert [name for name in sorted(reasons - internal) if f"`{name}`" not in PAGE.text] == []
    rows = re.findall(r"^\| 4\.3 \((\w+)\)", PAGE.text, re.MULTILINE)
    assert [f"4.3-{row}" for row in rows] == [check.clause for check in CHECKS]


def test_the_numbers_on_the_page_are_the_defaults() -> None:
    """What the page promises is what an app gets."""
    policy = DPoPPolicy()

    assert (policy.max_age, policy.skew, 2 * policy.window) == (60, 30, 240)
    assert (policy.longest_proof, policy.longest_jti) == (8192, 256)
    assert policy.names == "ES256 EdDSA"
