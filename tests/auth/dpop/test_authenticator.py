"""DPoPAuthenticator in its middleware: HTTP, WebSocket, and beside bearer tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth import (
    AuthenticationMiddleware,
    BearerAuthenticator,
    Throttle,
    ThrottledAuthenticator,
    ThrottleLimits,
)
from asgi_guard.auth.dpop import DPoPAuthenticator
from asgi_guard.auth.jose import KeySet, TokenVerifier
from asgi_guard.errors import AuthenticationError, ConfigError, UnavailableError
from asgi_guard.observability import subscribe
from asgi_guard.protocols import ASGIApp
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
from tests.support.exchange import Answer, Events, ask, handshake, websocket_scope
from tests.support.jose_tokens import access_claims, made, policy, signing_key, verifier
from tests.support.tenancy_world import MovedClock

TOKEN = bound_token()
PROOF = proof(token=TOKEN)
INVALID_PROOF = 'DPoP error="invalid_dpop_proof", algs="ES256 EdDSA"'
INVALID_TOKEN = 'DPoP error="invalid_token", algs="ES256 EdDSA"'
USE_NONCE = 'DPoP error="use_dpop_nonce", algs="ES256 EdDSA"'


@pytest.fixture
def events() -> Iterator[Events]:
    sink = Events()
    leave = subscribe(sink)
    yield sink
    leave()


def guarded(*authenticators: Any, app: ASGIApp | None = None) -> AuthenticationMiddleware:
    return AuthenticationMiddleware(
        app or Reached(), authenticators=authenticators or (authenticator(),)
    )


def offers(answer: Answer) -> list[str]:
    return [value for name, value in answer.headers if name == "www-authenticate"]


async def test_a_token_with_its_proof_lets_its_user_in(events: Events) -> None:
    """The principal says how: policies may ask for more than a bearer token."""
    app = Reached()
    middleware = guarded(app=app)
    scope = request(PROOF, token=TOKEN)

    answer = await ask(middleware, scope)

    assert (answer.status, app.users) == (200, ["alice"])
    assert scope["asgi_guard.principal"].auth_method == "dpop"
    assert events.seen == []


@pytest.mark.parametrize("denial", ["response", "close"])
async def test_a_websocket_is_opened_with_a_proof_of_its_handshake(denial: str) -> None:
    """A handshake is a GET of the same address; ``htu`` has the scheme of the HTTP request."""
    live = proof(token=TOKEN, htu="https://api.example/live")
    shown = [("authorization", f"DPoP {TOKEN.decode()}"), ("dpop", live.decode())]
    app, answers = guarded(), denial == "response"

    opened = await handshake(app, websocket_scope("/live", shown, denial=answers))
    again = await handshake(app, websocket_scope("/live", shown, denial=answers))

    assert opened.sent == [{"type": "websocket.accept"}]
    if answers:
        assert (again.status, offers(again)) == (401, [INVALID_PROOF])
    else:
        assert again.sent[0]["type"] == "websocket.close"


CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "no-proof": ({"proofs": ()}, "proof_missing", INVALID_PROOF),
    "two-proofs": ({"proofs": (PROOF, PROOF)}, "proof_duplicated", INVALID_PROOF),
    "no-token": ({"token": b""}, "token_malformed", INVALID_TOKEN),
    "no-jwt": ({"token": b"x"}, "token_malformed", INVALID_TOKEN),
    "forged": ({"token": TOKEN[:-4] + b"AAAA"}, "signature_invalid", INVALID_TOKEN),
    "bearer": ({"token": made()}, "token_not_bound", INVALID_TOKEN),
    "expired": ({"token": bound_token(exp=1)}, "token_expired", INVALID_TOKEN),
    "cnf-null": ({"token": bound_token(cnf=7)}, "confirmation_not_understood", INVALID_TOKEN),
    "cnf-more": (
        {"token": bound_token(cnf={"jkt": client_key().kid, "x5t#S256": "A" * 43})},
        "confirmation_not_understood",
        INVALID_TOKEN,
    ),
    "cnf-short": (
        {"token": bound_token(cnf={"jkt": "x"})},
        "confirmation_not_understood",
        INVALID_TOKEN,
    ),
    "other-key": ({"token": bound_token(client_key(1))}, "proof_ath_mismatch", INVALID_PROOF),
    "other-path": ({"path": "/others"}, "proof_htu_mismatch", INVALID_PROOF),
    "other-method": ({"method": "POST"}, "proof_htm_mismatch", INVALID_PROOF),
}


@pytest.mark.parametrize("case", CASES)
async def test_each_refusal_is_a_401_with_its_challenge_and_one_event(
    case: str, events: Events
) -> None:
    """Section 7.1: the client is told which of the two was wrong, and nothing else."""
    changes, reason, challenge = CASES[case]
    given = {"proofs": (PROOF,), "token": TOKEN, **changes}
    app = Reached()

    answer = await ask(guarded(app=app), request(*given.pop("proofs"), **given))

    assert (answer.status, offers(answer), app.users) == (401, [challenge], [])
    assert [(event.name, event.reason) for event in events.seen] == [
        ("AUTHENTICATION_FAILED", reason)
    ]
    said = answer.body.decode() + repr(answer.headers) + repr(events.seen)
    for secret in (TOKEN, PROOF):
        assert all(part.decode() not in said for part in secret.split(b"."))


async def test_two_authorization_headers_are_refused() -> None:
    """Which of them an inner layer would believe cannot be known."""
    twice = request(PROOF, token=TOKEN, more=[("authorization", "Bearer x")])

    assert (await ask(guarded(), twice)).status == 401
    with pytest.raises(AuthenticationError) as caught:
        await authenticator().authenticate(twice)
    assert caught.value.reason == "duplicate_authorization"


async def test_a_connection_without_credential_is_nobodys_and_other_schemes_are_others() -> None:
    """Whether nobody may enter is decided further in."""
    app = Reached()
    middleware = guarded(app=app)

    await ask(middleware, request())
    await ask(middleware, request(PROOF))
    await ask(middleware, request(PROOF, token=TOKEN, scheme="Bearer"))

    assert app.users == [None, None, None]


async def test_both_schemes_are_offered_where_both_are_accepted() -> None:
    """Section 7.2; a bound token is no bearer token there, and a bearer token is not bound."""
    app = Reached()
    both = guarded(BearerAuthenticator(verifier()), authenticator(), app=app)

    stolen = await ask(both, request(token=TOKEN, scheme="Bearer"))
    dressed = await ask(both, request(proof(token=made()), token=made()))
    assert offers(stolen) == ['Bearer error="invalid_token"', 'DPoP algs="ES256 EdDSA"']
    assert offers(dressed) == [INVALID_TOKEN, "Bearer"]
    assert app.users == []

    assert (await ask(both, request(token=made(), scheme="Bearer"))).status == 200
    assert (await ask(both, request(PROOF, token=TOKEN, scheme="dpop"))).status == 200


async def test_a_server_with_nonces_asks_for_one_and_renews_it(events: Events) -> None:
    """Sections 8.2 and 9: with the refusal, and with the first response after it changed."""
    clock = MovedClock(1_700_000_040.0)  # a step begins
    server = nonces(clock=clock)
    app = guarded(authenticator(validator(nonces=server, clock=clock), clock=clock))

    asked = await ask(app, request(PROOF, token=TOKEN))
    assert (asked.status, offers(asked)) == (401, [USE_NONCE])
    assert asked.header("dpop-nonce") == server.current()
    assert b'"code":"use_dpop_nonce"' in asked.body
    assert events.reasons == ["proof_nonce_missing"]

    first = server.current()
    good = await ask(app, request(proof(token=TOKEN, nonce=first), token=TOKEN))
    assert (good.status, good.header("dpop-nonce")) == (200, None)

    clock.time += 120
    later = proof(token=TOKEN, nonce=first, jti="proof-2", iat=clock.time)
    renewed = await ask(app, request(later, token=TOKEN))
    assert (renewed.status, renewed.header("dpop-nonce")) == (200, server.current())
    assert renewed.header("cache-control") == "no-store"


async def test_asking_for_a_nonce_does_not_count_as_a_wrong_credential() -> None:
    """Else every client would be locked out once the nonce has changed often enough."""
    throttle = Throttle(limits=ThrottleLimits(account="2 per minute", address="", tenant=""))
    judge = authenticator(validator(nonces=nonces()))
    app = guarded(ThrottledAuthenticator(judge, throttle=throttle))

    statuses = [(await ask(app, request(PROOF, token=TOKEN))).status for _ in range(4)]
    assert statuses == [401, 401, 401, 401]

    wrong = [(await ask(app, request(token=TOKEN))).status for _ in range(4)]
    assert wrong == [401, 401, 429, 429]


async def test_a_memory_that_fails_lets_nobody_in(events: Events) -> None:
    """503, and the event says that nobody was judged."""
    full = validator(replay=MemoryStore(max_entries=1, clock=MovedClock()))
    app = guarded(authenticator(full))

    assert (await ask(app, request(PROOF, token=TOKEN))).status == 200
    more = await ask(app, request(proof(token=TOKEN, jti="proof-2"), token=TOKEN))

    assert more.status == 503
    assert [(e.outcome, e.reason) for e in events.seen] == [("error", "memory_store_full")]


async def test_keys_that_cannot_be_had_use_up_no_proof() -> None:
    """The same request is good a moment later."""
    judge = validator()

    class Away:
        def find(self, kid: str | None, algorithm: str) -> None:
            return None

        async def look_again(self, kid: str | None) -> None:
            raise UnavailableError("jwks_unreachable")

    away = DPoPAuthenticator(
        TokenVerifier(policy(), keys=Away(), clock=MovedClock()), validator=judge
    )

    assert (await ask(guarded(away), request(PROOF, token=TOKEN))).status == 503
    assert (await ask(guarded(authenticator(judge)), request(PROOF, token=TOKEN))).status == 200


def test_wrong_parts_are_known_at_the_start() -> None:
    """And not by the first refused customer."""
    id_only = TokenVerifier(policy(types=("id",)), keys=KeySet([signing_key().public]))
    for wrong in (id_only, None):
        with pytest.raises(ConfigError):
            DPoPAuthenticator(wrong, validator=validator())  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        DPoPAuthenticator(verifier(), validator=None)  # type: ignore[arg-type]


async def test_what_is_announced_replaces_what_the_app_says_of_it() -> None:
    """A stale nonce from a cache would be refused, so the response is not to be cached."""

    async def cached(_scope: Any, _receive: Any, send: Any) -> None:
        headers = [(b"Cache-Control", b"public, max-age=60"), (b"x-kept", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    clock = MovedClock(1_700_000_040.0)
    server = nonces(clock=clock)
    app = guarded(authenticator(validator(nonces=server, clock=clock), clock=clock), app=cached)
    before = nonces(clock=MovedClock(clock.time - 1)).current()

    answer = await ask(app, request(proof(token=TOKEN, nonce=before), token=TOKEN))

    assert (answer.header("cache-control"), answer.header("x-kept")) == ("no-store", "1")
    assert answer.header("dpop-nonce") == server.current()


async def test_the_token_of_access_claims_is_a_bearer_token() -> None:
    """A control: what makes the difference is ``cnf`` alone."""
    assert (await ask(guarded(), request(PROOF, token=made(access_claims())))).status == 401
