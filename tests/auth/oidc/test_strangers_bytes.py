"""Every parser that meets a stranger's bytes: our own refusal, or a value; nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.auth.jose import KeySet
from asgi_guard.auth.jose.base64url import b64url_encode
from asgi_guard.auth.oidc import OIDCProvider, PublicClient, TokenSet
from asgi_guard.auth.oidc.addresses import address_problem
from asgi_guard.auth.oidc.authorization import Callback, read_parameters
from asgi_guard.auth.oidc.browser import BrowserCookies
from asgi_guard.auth.oidc.documents import ProviderClient
from asgi_guard.auth.oidc.id_token import verified_login
from asgi_guard.auth.oidc.local_path import local_path
from asgi_guard.auth.oidc.metadata import ProviderMetadata, read_metadata
from asgi_guard.auth.oidc.signed_token import unproven_claims
from asgi_guard.auth.oidc.token_endpoint import exchange_code
from asgi_guard.errors import LoginRefusedError, UnavailableError
from asgi_guard.protocols import FetchResponse
from asgi_guard.secret import Secret
from tests.support.jose_tokens import made, signing_key

FEW = settings(max_examples=25)
PROVIDER = OIDCProvider(
    name="p",
    issuer="https://id.example",
    client_id="web",
    client_auth=PublicClient(),
    redirect_uri="https://app.example/auth/callback/p",
    algorithms=("ES256",),
)
METADATA = ProviderMetadata("https://a", "https://t", "https://k", None, None, False, None, None)
KEYS = KeySet([signing_key().public])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        name: JSON | st.sampled_from([good])
        for name, good in {
            "iss": "https://id.example",
            "aud": "web",
            "azp": "web",
            "sub": "alice",
            "exp": int(SYSTEM_CLOCK.now()) + 100,
            "iat": int(SYSTEM_CLOCK.now()),
            "nonce": "n",
            "sid": "s",
            "at_hash": "x",
            "c_hash": "x",
            "acr": "0",
            "amr": ["pwd"],
            "auth_time": 1,
            "events": {},
        }.items()
    },
)
MEMBERS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        [
            *("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"),
            *("response_types_supported", "code_challenge_methods_supported"),
            *("userinfo_endpoint", "end_session_endpoint", "token_endpoint_auth_methods_supported"),
        ],
        JSON
        | st.sampled_from(["https://id.example", "https://[", "https://a:b", ["code", "S256"]]),
    ),
)


def judged(call: Any, *arguments: Any) -> Any:
    """Return what *call* returns, or None if it refused in our own way."""
    refusal: Exception | None = None
    try:
        return call(*arguments)
    except (LoginRefusedError, UnavailableError) as raised:
        refusal = raised
    assert refusal.__cause__ is None
    assert refusal.__context__ is None, "an inner error would quote the input"
    return None


@FEW
@given(st.binary(max_size=64) | st.text(max_size=64).map(lambda t: t.encode("utf-8", "replace")))
def test_a_query_is_read_or_refused(query: bytes) -> None:
    """Whatever follows the question mark."""
    found = judged(Callback.read, b"state=" + query)

    assert found is None or isinstance(found.state, str)
    judged(read_parameters, query)


@FEW
@given(st.lists(st.binary(max_size=80), max_size=3))
def test_cookies_are_read_or_refused(fields: list[bytes]) -> None:
    """Also those that a neighbour set."""
    scope = {"headers": [(b"cookie", b"__Host-oidc-" + b"0" * 16 + field) for field in fields]}

    found = judged(lambda: BrowserCookies(scope).secret_of("0" * 64))

    assert found is None or len(found) == 43
    assert len(BrowserCookies(scope).surplus()) <= 3


@FEW
@given(MEMBERS)
def test_metadata_is_read_or_refused(members: dict[str, Any]) -> None:
    """What is taken has three addresses that are https."""
    found = judged(read_metadata, members, PROVIDER)

    if found is not None:
        for url in found[:3]:
            assert url.startswith("https://")


@FEW
@given(st.text(max_size=40))
def test_an_address_is_judged(text: str) -> None:
    """No spelling breaks the judge."""
    assert isinstance(address_problem(text, allow_http=True), str)
    assert isinstance(address_problem("https://" + text, allow_http=False), str)
    assert local_path(text) in {None, text}


@FEW
@given(
    st.text(max_size=60) | st.binary(max_size=40).map(lambda b: f"a.{b64url_encode(b).decode()}.b")
)
def test_a_logout_token_is_read_or_refused(token: str) -> None:
    """Before anything of it is proven."""
    found = judged(unproven_claims, token)

    assert found is None or isinstance(found, dict)


@FEW
@given(CLAIMS)
def test_an_id_token_is_judged_whatever_it_claims(claims: dict[str, Any]) -> None:
    """Signed well, and wrong in any way that JSON can be."""
    token = made(claims, {"typ": "JWT"}).decode()
    tokens = TokenSet(access_token=Secret("a"), id_token=Secret(token))

    def judge() -> Any:
        return asyncio.run(
            verified_login(
                tokens,
                code="c",
                nonce="n",
                provider=PROVIDER,
                tenant_id=None,
                keys=KEYS,
                now=SYSTEM_CLOCK.now(),
            )
        )

    found = judged(judge)

    if found is not None:
        assert claims["nonce"] == "n"
        assert claims["sub"] == found.subject


@FEW
@given(st.binary(max_size=60) | st.sampled_from([b'{"a":1}', b"[]"]), st.integers(0, 999))
def test_an_answer_of_the_token_endpoint_is_read_or_refused(body: bytes, status: int) -> None:
    """Bytes of any kind under any status."""

    async def fetch(*_: Any, **__: Any) -> FetchResponse:
        headers = {"content-type": "application/json"}
        return FetchResponse(status=status, headers=headers, body=body)

    def exchange() -> Any:
        return asyncio.run(
            exchange_code(
                ProviderClient(fetch), PROVIDER, METADATA, code="c", verifier="v", now=0.0
            )
        )

    assert judged(exchange) is None
