"""TokenIssuer: what it makes, a verifier of the same policy accepts; nothing else is made."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from asgi_guard.auth import AuthenticationMiddleware, BearerAuthenticator
from asgi_guard.auth.jose import TokenIssuer
from asgi_guard.errors import ConfigError
from asgi_guard.observability import subscribe
from asgi_guard.protocols import Receive, Scope, Send
from asgi_guard.secret import Secret
from tests.support.exchange import Events
from tests.support.jose_tokens import AUDIENCE, ISSUER, NOW, Signer, policy, signing_key, verifier
from tests.support.tenancy_calls import get
from tests.support.tenancy_world import MovedClock

TYPES = ("access", "id", "refresh")


def issuer(**settings: Any) -> TokenIssuer:
    """Build an issuer whose key is kept long enough."""
    keys = Signer(signing_key(), grace=40 * 86_400)
    return TokenIssuer(policy(types=TYPES, **settings), keys=keys, clock=MovedClock())


def parts(token: Secret) -> list[dict[str, Any]]:
    """Return header and claims."""
    texts = token.reveal().split(".")[:2]
    return [json.loads(base64.urlsafe_b64decode(text + "==")) for text in texts]


async def test_an_access_token_is_one_of_rfc_9068() -> None:
    """Section 2: its type, and each required claim."""
    made = await issuer().issue_access(
        "alice", client_id="web", tenant_id="acme", roles=["b", "a"], scopes=["y", "x"]
    )
    header, claims = parts(made.token)

    assert header == {"alg": "ES256", "kid": signing_key().kid, "typ": "at+jwt"}
    assert claims == {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "client_id": "web",
        "iat": NOW,
        "exp": NOW + 600,
        "jti": made.jti,
        "tenant_id": "acme",
        "roles": ["a", "b"],
        "scope": "x y",
    }
    assert (made.issued_at, made.expires_at, made.kid) == (NOW, NOW + 600, signing_key().kid)


async def test_each_type_is_accepted_as_itself_and_with_its_own_lifetime() -> None:
    """Ten minutes, five minutes, fourteen days."""
    maker = issuer()
    made = [
        await maker.issue_access("alice", client_id="web"),
        await maker.issue_id("alice", nonce="n"),
        await maker.issue_refresh("alice", family="f"),
    ]
    judge = verifier(settings={"types": TYPES})

    for each in made:
        await judge.verify(each.token.reveal(), token_type=each.token_type)
    assert [each.expires_at - NOW for each in made] == [600, 300, 14 * 86_400]
    assert len({each.jti for each in made}) == 3


@pytest.mark.parametrize(
    "arguments",
    [
        {"lifetime": 601},
        {"lifetime": 0, "skew": 0},
        {"claims": {"exp": 1}},
        {"claims": {"tenant_id": "other"}},
        {"claims": {"sub": "admin"}},
        {"claims": {"x": float("nan")}},
        {"claims": {"x": b"bytes"}},
        {"claims": {"x": "a" * 17_000}},
        {"client_id": None},
        {"roles": [""]},
        {"scopes": ["a\nb"]},
        {"tenant_id": ""},
        {"subject": ""},
        {"subject": "alice\n"},
    ],
    ids=str,
)
async def test_what_the_policy_would_refuse_is_not_signed(arguments: dict[str, Any]) -> None:
    """The developer hears of it, and not the user who is logged out at once."""
    settings = {"skew": arguments.pop("skew", 30)}
    call = {"subject": "alice", "client_id": "web", **arguments}

    with pytest.raises(ConfigError):
        await issuer(**settings).issue_access(**call)


async def test_a_key_that_retires_before_its_tokens_expire_is_refused_when_built() -> None:
    """A rotation would log people out."""
    keys = Signer(signing_key(), grace=629)

    with pytest.raises(ConfigError, match="grace"):
        TokenIssuer(policy(), keys=keys)
    keys.grace = 630
    TokenIssuer(policy(), keys=keys)


async def test_each_token_leaves_one_event_and_is_nowhere_to_be_read() -> None:
    """Neither in the event nor in a repr; the event names it by a hash."""
    sink = Events()
    stop = subscribe(sink)
    keys = Signer(signing_key())
    made = await TokenIssuer(policy(), keys=keys).issue_access("alice", client_id="web")
    stop()

    assert [event.name for event in sink.seen] == ["TOKEN_ISSUED"]
    assert set(sink.seen[0].details) == {"token_type", "kid", "jti_sha256"}
    assert keys.asked == 1, "kid and key are one snapshot"
    for text in (repr(sink.seen), repr(made), str(made)):
        assert made.token.reveal().split(".")[2] not in text
        assert made.token.reveal() not in text
    assert made.jti not in repr(sink.seen)


async def whoami(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer with the user."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["user"].identity.encode()})


async def test_a_bearer_authenticator_takes_it_and_refuses_one_that_is_bound() -> None:
    """RFC 9449 section 7.2: a stolen DPoP-bound token must not work as Bearer."""
    maker = issuer()
    app = AuthenticationMiddleware(whoami, authenticators=[BearerAuthenticator(verifier())])
    good = await maker.issue_access("alice", client_id="web")
    bound = await maker.issue_access("alice", client_id="web", claims={"cnf": {"jkt": "x"}})

    answer = await get(app, headers={"authorization": f"Bearer {good.token.reveal()}"})
    refusal = await get(app, headers={"authorization": f"Bearer {bound.token.reveal()}"})

    assert (answer.status, answer.body) == (200, b"alice")
    assert refusal.status == 401
    with pytest.raises(ConfigError):
        BearerAuthenticator(verifier(settings={"types": ("id",)}))
