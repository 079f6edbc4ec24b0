"""The token endpoint's side: what is bound, what is refused, and what a host has to send."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from asgi_guard.auth.dpop import DPoPTokenEndpoint, dpop_jkt, oauth_error
from asgi_guard.auth.jose import TokenIssuer
from asgi_guard.errors import DPoPNonceError, DPoPProofError, UnavailableError
from asgi_guard.observability import subscribe
from tests.support.dpop_world import (
    authenticator,
    client_key,
    nonces,
    proof,
    request,
    validator,
)
from tests.support.exchange import Events
from tests.support.jose_tokens import Signer, policy, signing_key
from tests.support.tenancy_world import MovedClock

JKT = client_key().kid


@pytest.fixture
def events() -> Iterator[Events]:
    sink = Events()
    leave = subscribe(sink)
    yield sink
    leave()


def token_request(**changes: Any) -> dict[str, Any]:
    claims = {"htm": "POST", "htu": "https://api.example/token", **changes}
    return request(proof(**claims), method="POST", path="/token")


BARE = request(method="POST", path="/token")


async def test_the_tokens_of_a_request_with_a_proof_are_bound_to_its_key() -> None:
    """The whole way: proof, ``cnf.jkt``, a token that only this key can use."""
    binding = await DPoPTokenEndpoint(validator()).bind(token_request())
    issuer = TokenIssuer(policy(), keys=Signer(signing_key()), clock=MovedClock())
    issued = await issuer.issue_access("alice", client_id="web", claims=binding.claims)
    token = issued.token.reveal().encode()

    assert (binding.thumbprint, binding.token_type) == (JKT, "DPoP")
    assert binding.claims == {"cnf": {"jkt": JKT}}
    principal = await authenticator().authenticate(request(proof(token=token), token=token))
    assert principal is not None
    stolen = request(proof(token=token, key=client_key(1)), token=token)
    with pytest.raises(DPoPProofError):
        await authenticator().authenticate(stolen)


async def test_without_a_proof_the_tokens_are_bearer_tokens_unless_one_is_required(
    events: Events,
) -> None:
    """``dpop_bound_access_tokens`` of a client (section 5.2) may ask for more than the server."""
    binding = await DPoPTokenEndpoint(validator()).bind(BARE)

    assert (binding.claims, binding.token_type, binding.headers) == ({}, "Bearer", ())
    for endpoint, asked in (
        (DPoPTokenEndpoint(validator()), {"required": True}),
        (DPoPTokenEndpoint(validator(), required=True), {}),
        (DPoPTokenEndpoint(validator()), {"expected": JKT}),
    ):
        with pytest.raises(DPoPProofError):
            await endpoint.bind(BARE, **asked)
    assert [(e.name, e.reason) for e in events.seen] == [("DPOP_REFUSED", "proof_missing")] * 3
    assert (
        await DPoPTokenEndpoint(validator(), required=True).bind(BARE, required=False)
    ).claims == {}


async def test_a_code_and_a_refresh_token_are_for_the_key_they_were_made_for() -> None:
    """Sections 10 and 5: a stolen code and a stolen refresh token need the key as well."""
    endpoint = DPoPTokenEndpoint(validator())

    with pytest.raises(DPoPProofError) as caught:
        await endpoint.bind(token_request(), expected=client_key(1).kid)
    assert caught.value.reason == "proof_key_mismatch"
    assert (await endpoint.bind(token_request(), expected=JKT)).thumbprint == JKT


async def test_refresh_tokens_of_public_clients_are_bound() -> None:
    """A confidential client proves itself by other means, and may change its key."""
    binding = await DPoPTokenEndpoint(validator()).bind(token_request())

    assert binding.refresh_claims(public_client=True) == {"cnf": {"jkt": JKT}}
    assert binding.refresh_claims(public_client=False) == {}


async def test_a_proof_buys_tokens_once_and_a_refused_one_nothing(events: Events) -> None:
    """And one for the wrong grant is not used up by it."""
    endpoint = DPoPTokenEndpoint(validator())
    for _ in range(2):
        with pytest.raises(DPoPProofError):
            await endpoint.bind(token_request(), expected=client_key(1).kid)

    assert await endpoint.bind(token_request())
    with pytest.raises(DPoPProofError) as caught:
        await endpoint.bind(token_request())
    assert caught.value.reason == "proof_replayed"
    assert caught.value.reported
    assert events.reasons == ["proof_key_mismatch"] * 2 + ["proof_replayed"]


async def test_the_nonce_of_the_token_endpoint_is_asked_for_and_renewed() -> None:
    """Section 8: 400, ``use_dpop_nonce``, and the nonce in its header."""
    clock = MovedClock(1_700_000_040.0)
    server = nonces(clock=clock)
    endpoint = DPoPTokenEndpoint(validator(nonces=server, clock=clock))

    with pytest.raises(DPoPNonceError) as caught:
        await endpoint.bind(token_request())
    status, headers, body = oauth_error(caught.value)
    assert (status, json.loads(body)) == (400, {"error": "use_dpop_nonce"})
    assert headers["dpop-nonce"] == server.current()
    assert headers["cache-control"] == "no-store"

    first = server.current()
    assert (await endpoint.bind(token_request(nonce=first))).headers == ()
    clock.time += 120
    late = await endpoint.bind(token_request(nonce=first, jti="proof-2", iat=clock.time))
    assert late.headers == ((b"dpop-nonce", server.current().encode()),)


def test_a_refusal_is_an_oauth_error() -> None:
    """Section 5: ``invalid_dpop_proof``, and not a word of why."""
    status, _, body = oauth_error(DPoPProofError("proof_replayed"))

    assert (status, json.loads(body)) == (400, {"error": "invalid_dpop_proof"})


async def test_a_store_that_does_not_answer_issues_nothing(events: Events) -> None:
    """The host answers 503; the event says that nobody was judged."""

    class Down:
        async def first_use(self, key: str, *, ttl: float) -> bool:
            raise UnavailableError("redis_store_timeout")

    with pytest.raises(UnavailableError):
        await DPoPTokenEndpoint(validator(replay=Down())).bind(token_request())
    assert [(e.outcome, e.reason) for e in events.seen] == [("error", "redis_store_timeout")]


def test_dpop_jkt_of_an_authorization_request_is_kept_with_its_code() -> None:
    """Section 10, and 10.1 for pushed requests with a proof of their own."""
    pushed = validator().inspect(request(proof()))

    assert dpop_jkt(None) is None
    assert dpop_jkt(JKT) == JKT
    assert dpop_jkt(None, proof=pushed) == JKT
    assert dpop_jkt(JKT, proof=pushed) == JKT
    for wrong in ("", "x", JKT + "A", JKT + "\n", JKT[:-1] + "="):
        with pytest.raises(DPoPProofError):
            dpop_jkt(wrong)
    with pytest.raises(DPoPProofError):
        dpop_jkt(client_key(1).kid, proof=pushed)
