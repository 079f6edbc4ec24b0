"""DPoPProver and DPoPClient: proofs that others accept, and one more try for a nonce."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import jwt
import pytest

from asgi_guard.auth.dpop import DPoPClient, DPoPProver
from asgi_guard.auth.jose import SigningKey
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import FetchResponse
from asgi_guard.secret import Secret
from tests.support.dpop_world import (
    ALL_ALGORITHMS,
    BASE,
    NOW,
    URL,
    bound_token,
    client_key,
    nonces,
    request,
    validator,
)
from tests.support.tenancy_tokens import b64
from tests.support.tenancy_world import MovedClock

TOKEN = bound_token().decode()


def prover(key: SigningKey | None = None) -> DPoPProver:
    return DPoPProver(client_key() if key is None else key, clock=MovedClock())


class Server:
    """Answers one after the other, and remembers what it was sent."""

    def __init__(self, *answers: FetchResponse) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[str, str, Mapping[str, str], bytes]] = []

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        max_bytes: int,
    ) -> FetchResponse:
        self.sent.append((method, url, headers or {}, body))
        return self.answers.pop(0)

    def nonces(self) -> list[str | None]:
        return [claims_of(headers["dpop"]).get("nonce") for _, _, headers, _ in self.sent]


def claims_of(text: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(text, options={"verify_signature": False})
    return claims


def asks(nonce: str, *, status: int = 401) -> FetchResponse:
    challenge = 'Bearer realm="x", DPoP error="use_dpop_nonce", algs="ES256"'
    headers = {"dpop-nonce": nonce}
    if status == 401:
        return FetchResponse(status=401, headers={"www-authenticate": challenge, **headers})
    return FetchResponse(status=400, headers=headers, body=b'{"error": "use_dpop_nonce"}')


@pytest.mark.parametrize("algorithm", ALL_ALGORITHMS.algorithms)
async def test_a_proof_of_ours_is_what_we_and_others_accept(algorithm: str) -> None:
    """PyJWT verifies it with the key in its header; so does our validator."""
    text = await prover(client_key(algorithm=algorithm)).proof(
        "GET", f"{URL}?q=1#f", access_token=Secret(TOKEN), nonce=nonces().current()
    )
    header = jwt.get_unverified_header(text)
    claims = jwt.decode(text, jwt.PyJWK(header["jwk"], algorithm), algorithms=[algorithm])

    assert (header["typ"], header["alg"]) == ("dpop+jwt", algorithm)
    assert set(header["jwk"]) <= {"kty", "crv", "x", "y", "n", "e"}
    assert (claims["htm"], claims["htu"], claims["iat"]) == ("GET", URL, NOW)
    assert claims["ath"] == b64(sha256(TOKEN.encode()).digest()).decode()
    judge = validator(policy=ALL_ALGORITHMS, nonces=nonces())
    assert judge.inspect(request(text), access_token=TOKEN.encode())


async def test_each_proof_has_an_id_of_its_own() -> None:
    """128 random bits; a repeated request is no replay."""
    texts = [await prover().proof("GET", URL) for _ in range(20)]

    assert len({claims_of(text)["jti"] for text in texts}) == 20


async def test_a_key_is_made_off_the_loop_and_shows_nothing() -> None:
    """Its thumbprint is what servers know it by."""
    made = await DPoPProver.generate("EdDSA")

    assert len(made.thumbprint) == 43
    assert repr(made) == f"DPoPProver(thumbprint={made.thumbprint!r})"
    with pytest.raises(ConfigError):
        await DPoPProver.generate("HS256")
    with pytest.raises(ConfigError):
        DPoPProver("key")  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        await made.proof("GET", "/notes")


@pytest.mark.parametrize("status", [400, 401])
async def test_a_server_that_asks_for_a_nonce_is_asked_again_once(status: int) -> None:
    """The token endpoint asks with 400 and JSON, a resource with 401 and a challenge."""
    server = Server(asks("n-1", status=status), FetchResponse(status=200))
    client = DPoPClient(prover(), fetch=server)

    answer = await client.request("POST", URL, access_token=TOKEN, body=b"text")

    assert answer.status == 200
    assert server.nonces() == [None, "n-1"]
    assert [(method, body) for method, _, _, body in server.sent] == [("POST", b"text")] * 2
    assert server.sent[1][2]["authorization"] == f"DPoP {TOKEN}"
    assert len({headers["dpop"] for _, _, headers, _ in server.sent}) == 2


async def test_a_server_that_keeps_asking_gets_its_answer_back() -> None:
    """One more try, not a loop: also when each answer brings another nonce."""
    server = Server(asks("n-1"), asks("n-2"), asks("n-2"), FetchResponse(status=200))
    client = DPoPClient(prover(), fetch=server)

    assert (await client.request("GET", URL)).status == 401
    assert server.nonces() == [None, "n-1"]
    assert (await client.request("GET", URL)).status == 401
    assert server.nonces() == [None, "n-1", "n-2"], "it was sent already"


async def test_the_last_nonce_of_each_origin_is_remembered() -> None:
    """Section 8.2: also one that comes with a good answer; another origin has its own."""
    renewed = FetchResponse(status=200, headers={"dpop-nonce": "n-2"})
    server = Server(asks("n-1"), renewed, *[FetchResponse(status=200)] * 3)
    client = DPoPClient(prover(), fetch=server)

    await client.request("GET", URL)
    await client.request("GET", f"{BASE}/others")
    await client.request("GET", "https://other.example/")
    await client.request("GET", "HTTPS://API.example/notes")

    assert server.nonces() == [None, "n-1", "n-2", None, "n-2"]


@pytest.mark.parametrize(
    "answer",
    [
        FetchResponse(status=401, headers={"dpop-nonce": "n"}),
        FetchResponse(status=401, headers={"www-authenticate": 'DPoP error="invalid_token"'}),
        FetchResponse(status=400, headers={"dpop-nonce": "n"}, body=b'{"error": "invalid_grant"}'),
        FetchResponse(status=400, headers={"dpop-nonce": "n"}, body=b"\xff"),
        FetchResponse(status=403, headers={"dpop-nonce": "n"}, body=b'{"error":"use_dpop_nonce"}'),
        FetchResponse(status=400, body=b'{"error": "use_dpop_nonce"}'),
        FetchResponse(status=302, headers={"location": "https://evil.example/"}),
    ],
    ids=["plain", "token", "grant", "no-json", "status", "no-nonce", "redirect"],
)
async def test_any_other_answer_is_the_callers_to_judge(answer: FetchResponse) -> None:
    """Nothing is sent twice for another reason than its nonce."""
    server = Server(answer)

    assert await DPoPClient(prover(), fetch=server).request("GET", URL) is answer


@pytest.mark.parametrize("nonce", ["", "a b", 'a"b', "a\\b", "a\r\nb", "é", "n" * 1025])
async def test_a_nonce_that_is_none_is_not_sent_back(nonce: str) -> None:
    """NQCHAR of section 8.1, and no more of it than fits a header."""
    server = Server(asks(nonce), FetchResponse(status=200))
    client = DPoPClient(prover(), fetch=server)

    assert (await client.request("GET", URL)).status == 401
    await client.request("GET", URL)
    assert server.nonces() == [None, None]


async def test_headers_that_are_made_here_are_refused() -> None:
    """A second ``Authorization`` would make the request ambiguous."""
    client = DPoPClient(prover(), fetch=Server(FetchResponse(status=200)))

    for headers in ({"DPoP": "x"}, {"Authorization": "Bearer x"}):
        with pytest.raises(ConfigError):
            await client.request("GET", URL, access_token=TOKEN, headers=headers)
    basic = {"authorization": "Basic eA=="}
    assert (await client.request("POST", URL, headers=basic)).status == 200
    assert client.thumbprint == client_key().kid


async def test_nonces_of_many_origins_are_forgotten_in_turn() -> None:
    """A crawler of many servers does not grow without end."""
    server = Server(*[FetchResponse(status=200, headers={"dpop-nonce": "n"})] * 302)
    client = DPoPClient(DPoPProver(client_key(), clock=MovedClock()), fetch=server)

    for number in range(300):
        await client.request("GET", f"https://s{number}.example/")
    await client.request("GET", "https://s0.example/")
    await client.request("GET", "https://s299.example/")

    assert server.nonces()[-2:] == [None, "n"]
