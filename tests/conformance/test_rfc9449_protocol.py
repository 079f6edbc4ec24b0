"""RFC 9449 sections 5 to 11: tokens, requests, nonces and codes; with the RFC's own examples."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth import AuthenticationMiddleware, BearerAuthenticator
from asgi_guard.auth.dpop import DPoPTokenEndpoint, DPoPValidator, dpop_jkt, oauth_error
from asgi_guard.errors import DPoPNonceError, DPoPProofError
from tests.support.dpop_world import (
    Reached,
    authenticator,
    bound_token,
    client_key,
    nonces,
    proof,
    request,
    validator,
)
from tests.support.exchange import Answer, ask
from tests.support.jose_tokens import made, verifier
from tests.support.tenancy_world import MovedClock

# Figures 1, 3, 9 and 12 to 14: one key, a token request, a thumbprint, a resource request.
HEADER = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjN"
    "oUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VE"
    "RWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19"
)
TOKEN_REQUEST = (
    f"{HEADER}.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLm"
    "V4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvw"
    "nQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
)
RESOURCE_REQUEST = (
    f"{HEADER}.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS"
    "5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaN"
    "TNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6"
    "pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
)
THUMBPRINT = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
ACCESS_TOKEN = b"Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"

TOKEN = bound_token()
JKT = client_key().kid


def example(base: str, now: int) -> DPoPValidator:
    return validator(base=base, clock=MovedClock(now))


def token_request(**changes: Any) -> dict[str, Any]:
    claims = {"htm": "POST", "htu": "https://api.example/token", **changes}
    return request(proof(**claims), method="POST", path="/token")


async def answer(scope: dict[str, Any], *takes: Any) -> Answer:
    return await ask(AuthenticationMiddleware(Reached(), authenticators=takes), scope)


def challenges(answered: Answer) -> list[str]:
    return [value for name, value in answered.headers if name == "www-authenticate"]


def test_section_5_and_6_1_the_example_of_a_token_request() -> None:
    """Figure 3, and the thumbprint of figure 9."""
    found = example("https://server.example.com", 1562262616).inspect(
        request(TOKEN_REQUEST, method="POST", path="/token")
    )

    assert (found.thumbprint, found.jti) == (THUMBPRINT, "-BwC3ESc6acc2lTc")


def test_section_7_1_the_example_of_a_resource_request() -> None:
    """Figure 12: the token's hash, and the key that the token is bound to."""
    judge = example("https://resource.example.org", 1562262618)
    scope = request(RESOURCE_REQUEST, path="/protectedresource")

    assert judge.inspect(scope, access_token=ACCESS_TOKEN, bound_to=THUMBPRINT)
    for wrong in ({"access_token": ACCESS_TOKEN + b"x"}, {"bound_to": JKT}):
        with pytest.raises(DPoPProofError):
            judge.inspect(scope, **wrong)


async def test_section_5_the_response_says_dpop_and_the_error_is_invalid_dpop_proof() -> None:
    """``token_type`` tells the client how to present the token."""
    endpoint = DPoPTokenEndpoint(validator(), required=True)

    assert (await endpoint.bind(token_request())).token_type == "DPoP"
    with pytest.raises(DPoPProofError) as caught:
        await endpoint.bind(request(method="POST", path="/token"))
    status, _, body = oauth_error(caught.value)
    assert (status, json.loads(body)["error"]) == (400, "invalid_dpop_proof")


async def test_section_5_refresh_tokens_of_public_clients_are_bound_to_the_key() -> None:
    """A stolen one is then of no use; a confidential client's is bound by its authentication."""
    binding = await DPoPTokenEndpoint(validator()).bind(token_request())

    assert binding.refresh_claims(public_client=True)["cnf"] == {"jkt": JKT}
    assert binding.refresh_claims(public_client=False) == {}
    with pytest.raises(DPoPProofError):
        await DPoPTokenEndpoint(validator()).bind(token_request(), expected=client_key(1).kid)


async def test_section_6_1_the_confirmation_is_cnf_jkt() -> None:
    """The thumbprint of RFC 7638 with SHA-256."""
    binding = await DPoPTokenEndpoint(validator()).bind(token_request())

    assert binding.claims == {"cnf": {"jkt": JKT}}


async def test_section_7_1_the_challenge_names_error_and_algorithms() -> None:
    """401 and ``DPoP``, with ``algs`` separated by spaces."""
    nobody = await answer(request(token=TOKEN), authenticator())
    bad_token = await answer(request(proof(token=b"x"), token=b"x"), authenticator())

    assert nobody.status == bad_token.status == 401
    assert challenges(nobody) == ['DPoP error="invalid_dpop_proof", algs="ES256 EdDSA"']
    assert challenges(bad_token) == ['DPoP error="invalid_token", algs="ES256 EdDSA"']


async def test_section_7_1_the_scheme_is_case_insensitive() -> None:
    """RFC 9110 section 11.1."""
    for scheme in ("DPoP", "dpop", "DPOP"):
        sent = request(proof(token=TOKEN), token=TOKEN, scheme=scheme)
        assert (await answer(sent, authenticator())).status == 200


async def test_section_7_2_a_bound_token_is_not_taken_as_a_bearer_token() -> None:
    """Also where both schemes are taken, and then both are offered."""
    takes = [BearerAuthenticator(verifier()), authenticator()]
    downgraded = await answer(request(token=TOKEN, scheme="Bearer"), *takes)

    assert downgraded.status == 401
    assert challenges(downgraded) == ['Bearer error="invalid_token"', 'DPoP algs="ES256 EdDSA"']
    assert (await answer(request(token=made(), scheme="Bearer"), *takes)).status == 200


async def test_section_8_the_authorization_server_provides_a_nonce() -> None:
    """400, ``use_dpop_nonce`` and ``DPoP-Nonce``; the next proof holds it."""
    server = nonces()
    endpoint = DPoPTokenEndpoint(validator(nonces=server))

    with pytest.raises(DPoPNonceError) as caught:
        await endpoint.bind(token_request())
    status, headers, body = oauth_error(caught.value)
    assert (status, json.loads(body)["error"]) == (400, "use_dpop_nonce")
    assert await endpoint.bind(token_request(nonce=headers["dpop-nonce"]))


async def test_section_8_2_and_9_the_resource_server_provides_its_own_and_renews_it() -> None:
    """With 401, and with the 200 after it changed, which no cache may keep."""
    clock = MovedClock(1_700_000_040.0)
    server = nonces(clock=clock)
    takes = authenticator(validator(nonces=server, clock=clock), clock=clock)

    asked = await answer(request(proof(token=TOKEN), token=TOKEN), takes)
    first = asked.header("dpop-nonce")
    assert challenges(asked) == ['DPoP error="use_dpop_nonce", algs="ES256 EdDSA"']
    clock.time += 120
    late = proof(token=TOKEN, nonce=first, iat=clock.time)
    renewed = await answer(request(late, token=TOKEN), takes)
    assert (renewed.status, renewed.header("dpop-nonce")) == (200, server.current())
    assert renewed.header("cache-control") == "no-store"


async def test_section_10_a_code_is_bound_to_the_key_of_its_request() -> None:
    """``dpop_jkt``; a stolen code is of no use with another key, nor without any."""
    kept = dpop_jkt(JKT)
    endpoint = DPoPTokenEndpoint(validator())
    stolen = proof(key=client_key(1), htm="POST", htu="https://api.example/token")

    for scope in (
        request(stolen, method="POST", path="/token"),
        request(method="POST", path="/token"),
    ):
        with pytest.raises(DPoPProofError):
            await endpoint.bind(scope, expected=kept)
    assert (await endpoint.bind(token_request(), expected=kept)).thumbprint == JKT


def test_section_10_1_a_pushed_request_may_bring_a_proof_instead() -> None:
    """If it brings both, they must agree."""
    pushed = validator().inspect(request(proof()))

    assert dpop_jkt(None, proof=pushed) == dpop_jkt(JKT, proof=pushed) == JKT
    with pytest.raises(DPoPProofError):
        dpop_jkt(client_key(1).kid, proof=pushed)


async def test_section_11_1_a_proof_is_accepted_once_in_its_window() -> None:
    """Remembered under key and ``jti`` for longer than it could be accepted."""
    clock = MovedClock()
    judge = validator(clock=clock, replay=MemoryStore(clock=clock))
    scope = request(proof())
    await judge.validate(scope)

    for seconds in (0, 60, 29):
        clock.time += seconds
        with pytest.raises(DPoPProofError) as caught:
            await judge.validate(scope)
        assert caught.value.reason == "proof_replayed"
