"""A 401 offers what the app takes, from the authenticators themselves."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI, Request, Response

from asgi_guard.auth import AuthenticationMiddleware
from asgi_guard.auth.challenges import Challenges
from asgi_guard.auth.throttle import Throttle
from asgi_guard.auth.throttled import ThrottledAuthenticator
from asgi_guard.errors import AuthenticationError, ConfigError, InsufficientScopeError
from asgi_guard.integrations.fastapi import require_scopes
from asgi_guard.protocols import Principal, Receive, Scope, Send
from asgi_guard.tenancy import ClaimResolver, TenantContextMiddleware
from tests.support.exchange import Answer
from tests.support.tenancy_calls import get
from tests.support.tenancy_tokens import authenticator
from tests.support.tenancy_world import ACME

DPOP = b'DPoP algs="ES256 EdDSA"'
REFUSED = 'Bearer error="invalid_token"'
DPOP_REFUSED = 'DPoP algs="ES256 EdDSA", error="invalid_token"'
GARBAGE = {"authorization": "Bearer garbage"}


class Named:
    """An authenticator that names its challenges, and knows one answer."""

    def __init__(self, *challenges: bytes, answer: Principal | Exception | None = None) -> None:
        self.challenges = challenges
        self.answer = answer

    async def authenticate(self, _scope: Scope) -> Principal | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def nobody(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise AssertionError("refused before it comes here")


def guarded(*authenticators: Any) -> AuthenticationMiddleware:
    inner = TenantContextMiddleware(nobody, resolver=ClaimResolver())
    return AuthenticationMiddleware(inner, authenticators=authenticators)


def offers(answer: Answer) -> list[str]:
    assert answer.status == 401
    return [value for name, value in answer.headers if name == "www-authenticate"]


async def test_a_refused_bearer_token_is_told_of_the_other_schemes_too() -> None:
    """RFC 9449 section 7.2: an app that takes both says so, and what was wrong with which."""
    app = guarded(authenticator(), Named(DPOP))

    assert offers(await get(app, "/", GARBAGE)) == [REFUSED, DPOP.decode()]


async def test_an_app_that_takes_dpop_only_does_not_send_its_clients_for_a_bearer_token() -> None:
    """It would be refused as well, and the client would never learn what is asked for."""
    refusing = Named(DPOP, answer=AuthenticationError("revoked"))

    assert offers(await get(guarded(refusing))) == [DPOP_REFUSED]
    assert offers(await get(guarded(Named(DPOP)))) == [DPOP.decode()]


async def test_no_credential_is_no_error_and_everything_is_on_offer() -> None:
    """RFC 6750 section 3: without a credential there is nothing that could be wrong."""
    app = guarded(authenticator(), Named(DPOP), Named(b'ApiKey realm="api"', b"Bearer"))

    assert offers(await get(app)) == ["Bearer", DPOP.decode(), 'ApiKey realm="api"']


async def test_what_the_refusal_says_itself_is_kept_and_comes_first() -> None:
    """A DPoP authenticator may ask for a nonce (RFC 9449 section 9)."""
    asks = (
        (b"www-authenticate", b'DPoP error="use_dpop_nonce"'),
        (b"dpop-nonce", b"n-1"),
    )
    app = guarded(authenticator(), Named(DPOP, answer=AuthenticationError("n", headers=asks)))

    answer = await get(app)

    assert offers(answer) == ['DPoP error="use_dpop_nonce"', "Bearer"]
    assert answer.header("dpop-nonce") == "n-1"


async def test_a_credential_that_ran_out_further_in_is_challenged_by_its_own_scheme() -> None:
    """Between the two middlewares a credential may expire."""
    over = Principal(user_id="alice", tenant_id="acme", expires_at=1.0)

    assert offers(await get(guarded(Named(DPOP, answer=over)))) == [DPOP_REFUSED]


async def test_two_authorization_headers_are_challenged_by_every_scheme() -> None:
    """Nobody can say which of them was meant."""
    app = guarded(authenticator(), Named(DPOP))

    twice = [("authorization", "Bearer a"), ("authorization", "DPoP b")]
    assert offers(await get(app, "/", twice)) == [REFUSED, DPOP_REFUSED]


async def test_a_throttle_offers_what_is_behind_it() -> None:
    """Wrapping an authenticator must not change what a client is asked for."""
    app = guarded(ThrottledAuthenticator(Named(DPOP), throttle=Throttle()))

    assert offers(await get(app)) == [DPOP.decode()]


@pytest.mark.parametrize(("method", "scheme"), [("dpop", "DPoP"), ("bearer", "Bearer")])
async def test_too_narrow_a_credential_is_told_by_its_own_scheme(method: str, scheme: str) -> None:
    """RFC 9449 section 7.1: a client that sent DPoP must not be sent for a bearer token."""
    api = FastAPI()

    @api.get("/", dependencies=[require_scopes("notes:write")])
    def page() -> str:
        raise AssertionError("refused before it comes here")

    principal = Principal(user_id="alice", tenant_id=ACME, auth_method=method)
    inner = TenantContextMiddleware(api, resolver=ClaimResolver())
    api.add_exception_handler(InsufficientScopeError, problem)
    answer = await get(AuthenticationMiddleware(inner, authenticators=[Named(answer=principal)]))

    assert answer.status == 403
    assert answer.header("www-authenticate") == (
        f'{scheme} error="insufficient_scope", scope="notes:write"'
    )


async def problem(_request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, InsufficientScopeError)
    return Response(
        status_code=refusal.status,
        headers={name.decode(): value.decode() for name, value in refusal.headers},
    )


def test_authenticators_that_name_nothing_offer_bearer() -> None:
    """Those that were written before there was a choice."""
    assert Challenges([]).plain == ((b"www-authenticate", b"Bearer"),)


@pytest.mark.parametrize(
    "wrong", [b"", b"Bearer\r\nset-cookie: a=b", b"Bearer ", "Bearer", b"Be\xc3\xa9r"], ids=range(5)
)
def test_what_could_split_the_header_is_refused_when_built(wrong: Any) -> None:
    """RFC 9112 section 11.1: a line end in a field is a second field, or a second response."""
    with pytest.raises(ConfigError, match="challenges"):
        guarded(Named(wrong))
