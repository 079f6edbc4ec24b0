"""APIKeyAuthenticator: which header it takes for its own, and what a refusal says."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_guard._internal.principal import principal_of
from asgi_guard.auth import AuthenticationMiddleware
from asgi_guard.auth.api_keys import APIKeyAuthenticator, APIKeyService
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Authenticator, Receive, Scope, Send
from tests.support.api_keys_world import FORMAT, CountingStore, make, service
from tests.support.exchange import http_scope
from tests.support.tenancy_calls import get
from tests.support.tenancy_tokens import authenticator as jwt_authenticator
from tests.support.tenancy_tokens import signed
from tests.support.tenancy_world import ACME


@pytest.fixture
def keys() -> APIKeyService:
    return service()


async def who_app(scope: Scope, _receive: Receive, send: Send) -> None:
    principal = principal_of(scope)
    body = b"nobody" if principal is None else principal.auth_method.encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def guarded(keys: APIKeyService) -> AuthenticationMiddleware:
    return AuthenticationMiddleware(
        who_app, authenticators=[APIKeyAuthenticator(keys), jwt_authenticator()]
    )


@pytest.mark.parametrize(
    ("header", "shape"),
    [
        ("x-api-key", "{}"),
        ("authorization", "ApiKey {}"),
        ("authorization", "apikey  {}"),
        ("authorization", "Bearer {}"),
    ],
)
async def test_a_key_is_taken_from_each_header(
    keys: APIKeyService, header: str, shape: str
) -> None:
    """Clients differ in where they can put it."""
    issued = await make(keys)
    scope = http_scope(headers={header: shape.format(issued.key.reveal())})

    principal = await APIKeyAuthenticator(keys).authenticate(scope)

    assert principal is not None
    assert (principal.user_id, principal.tenant_id) == ("alice", ACME)
    assert (principal.auth_method, principal.scopes) == ("api_key", frozenset({"notes:read"}))
    assert principal.expires_at == issued.record.expires_at
    assert dict(principal.claims) == {"api_key_id": issued.record.key_id}
    assert isinstance(APIKeyAuthenticator(keys), Authenticator)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer eyJhbGciOiJub25lIn0.e30."},
        {"authorization": "Basic YWNtZTp4"},
        {"authorization": "Bearer other_live_abc"},
        {"authorization": "Bearer"},
        {"authorization": ""},
    ],
)
async def test_what_is_another_kind_of_credential_is_left_to_the_next(
    keys: APIKeyService, headers: dict[str, str]
) -> None:
    """None, so that a JWT authenticator may look."""
    assert await APIKeyAuthenticator(keys).authenticate(http_scope(headers=headers)) is None


async def test_keys_and_tokens_live_behind_one_middleware(keys: APIKeyService) -> None:
    """The same Bearer scheme for both."""
    key = (await make(keys)).key.reveal()
    app = guarded(keys)

    by_key = await get(app, headers={"authorization": f"Bearer {key}"})
    by_token = await get(app, headers={"authorization": f"Bearer {signed().decode()}"})
    by_nothing = await get(app)

    assert [each.body for each in (by_key, by_token, by_nothing)] == [
        b"api_key",
        b"bearer",
        b"nobody",
    ]


@pytest.mark.parametrize(
    ("header", "shape", "challenge"),
    [
        ("x-api-key", "{}", 'ApiKey realm="api"'),
        ("authorization", "ApiKey {}", 'ApiKey realm="api"'),
        ("authorization", "Bearer {}", 'Bearer error="invalid_token"'),
    ],
)
async def test_malformed_unknown_expired_and_revoked_read_the_same(
    header: str, shape: str, challenge: str
) -> None:
    """Whoever tries keys must not learn which of them once opened something."""
    keys = service(cache_ttl=0)
    expired, revoked = await make(keys, expires_in=1), await make(keys)
    await keys.revoke(revoked.record.key_id, tenant_id=ACME)
    keys._verifier._clock.move(1)  # type: ignore[attr-defined]
    shown = [
        "acme_live_" + "a" * 36,
        "acme_test_" + "a" * 36,
        "acme_\xff",
        "acme_" + "a" * 100_000,
        FORMAT.new_key().reveal(),
        expired.key.reveal(),
        revoked.key.reveal(),
    ]
    app = guarded(keys)

    answers = [await get(app, headers={header: shape.format(key)}) for key in shown]

    assert {answer.status for answer in answers} == {401}
    assert {first_challenge(answer) for answer in answers} == {challenge}
    assert len({_without_id(answer) for answer in answers}) == 1


def first_challenge(answer: Any) -> str:
    """Return the challenge of the scheme that was used; others are offered after it."""
    first: str = next(value for name, value in answer.headers if name == "www-authenticate")
    return first


def _without_id(answer: Any) -> bytes:
    body: bytes = answer.body
    return body.partition(b'"request_id"')[0]


@pytest.mark.parametrize("second", ["ApiKey {}", "Bearer {}"])
async def test_two_keys_are_refused_and_so_is_one_header_twice(
    keys: APIKeyService, second: str
) -> None:
    """Which one an inner layer would believe cannot be known."""
    key = (await make(keys)).key.reveal()
    app = guarded(keys)

    two = await get(app, headers=[("x-api-key", key), ("authorization", second.format(key))])
    twice = await get(app, headers=[("x-api-key", key), ("x-api-key", key)])
    empty = await get(app, headers=[("x-api-key", "")])

    assert (two.status, twice.status, empty.status) == (401, 401, 401)


async def test_a_store_that_is_down_is_a_503() -> None:
    """Not a 401, which clients would take for a lost key."""
    store = CountingStore()
    keys = service(store)
    key = (await make(keys)).key.reveal()
    store.broken = True

    assert (await get(guarded(keys), headers={"x-api-key": key})).status == 503


async def test_the_header_of_its_own_can_be_named_or_left_out(keys: APIKeyService) -> None:
    """Some gateways use another."""
    key = (await make(keys)).key.reveal()
    scope = http_scope(headers={"x-api-key": key})

    assert await APIKeyAuthenticator(keys, header=None).authenticate(scope) is None
    assert await APIKeyAuthenticator(keys, header="X-Key").authenticate(scope) is None
    with pytest.raises(ConfigError, match="header"):
        APIKeyAuthenticator(keys, header="X Key")
