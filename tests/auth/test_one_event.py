"""Each credential that is judged leaves one event, which says which one and never shows it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from typing import Any

import pytest

from asgi_guard.auth import (
    AuthenticationMiddleware,
    BearerAuthenticator,
    Throttle,
    ThrottledAuthenticator,
    ThrottleLimits,
)
from asgi_guard.auth.api_keys import APIKeyAuthenticator
from asgi_guard.errors import AuthenticationError
from asgi_guard.observability import subscribe
from asgi_guard.protocols import Receive, Scope, Send
from tests.support.api_keys_world import make, service
from tests.support.exchange import Events
from tests.support.jose_tokens import access_claims, made, signing_key, verifier
from tests.support.tenancy_calls import get

GOOD = made()
KID = signing_key().kid
JTI = sha256(b"t-1").hexdigest()
BOTH = {"kid": KID, "jti_sha256": JTI}


class Routine(Events):
    """A reader that also wants an event for each request that went well."""

    routine = True


@pytest.fixture
async def events() -> AsyncIterator[Routine]:
    sink = Routine()
    unsubscribe = subscribe(sink)
    yield sink
    unsubscribe()


@pytest.fixture
def plain_events() -> Iterator[Events]:
    sink = Events()
    unsubscribe = subscribe(sink)
    yield sink
    unsubscribe()


async def page(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def guarded(*authenticators: Any) -> AuthenticationMiddleware:
    return AuthenticationMiddleware(page, authenticators=authenticators)


def bearer(token: bytes) -> dict[str, str]:
    return {"authorization": f"Bearer {token.decode()}"}


async def test_a_good_token_is_named_by_its_key_and_the_hash_of_its_id(events: Routine) -> None:
    """Cached or not: whoever looks for what one token did finds all of it."""
    app = guarded(BearerAuthenticator(verifier()))

    for _ in range(2):
        assert (await get(app, "/", bearer(GOOD))).status == 200

    assert [event.name for event in events.seen] == ["AUTHENTICATION_SUCCEEDED"] * 2
    assert [dict(event.details) for event in events.seen] == [
        BOTH,
    ] * 2


@pytest.mark.parametrize(
    ("token", "reason", "details"),
    [
        (made(access_claims(exp=1)), "token_expired", BOTH),
        (made(access_claims(cnf={"jkt": "x"})), "token_bound_to_a_key", BOTH),
        (GOOD[:-6] + b"AAAAAA", "signature_invalid", {"kid": KID}),
        (made(header={"kid": "who"}), "key_unknown", {"kid_sha256": sha256(b"who").hexdigest()}),
        (b"garbage", "token_malformed", {}),
    ],
    ids=["expired", "bound", "signature", "kid", "garbage"],
)
async def test_a_refused_token_leaves_one_event_that_says_what_is_proven_of_it(
    token: bytes, reason: str, details: dict[str, str], events: Routine
) -> None:
    """What its sender only claims is hashed: it may be anything, somebody's secret too."""
    answer = await get(guarded(BearerAuthenticator(verifier())), "/", bearer(token))

    assert answer.status == 401
    (event,) = events.seen
    assert (event.name, event.outcome, event.reason) == ("AUTHENTICATION_FAILED", "denied", reason)
    assert dict(event.details) == {**details, "code": "unauthenticated"}


async def test_a_revoked_token_is_named_from_the_cache_too(events: Routine) -> None:
    """The second time it is not even looked at, and still somebody's."""
    revoked: list[str] = []
    judge = verifier(is_revoked=lambda token: token.claims["jti"] in revoked)
    app = guarded(BearerAuthenticator(judge))
    await get(app, "/", bearer(GOOD))
    revoked.append("t-1")

    assert (await get(app, "/", bearer(GOOD))).status == 401
    assert events.seen[-1].reason == "token_revoked"
    assert events.seen[-1].details["jti_sha256"] == JTI
    assert len(events.seen) == 2


async def test_an_api_key_leaves_one_event_whether_it_opens_or_not(events: Routine) -> None:
    """Two alarms for one guess make every rate twice what it is."""
    keys = service(cache_ttl=0)
    issued = await make(keys)
    app = guarded(APIKeyAuthenticator(keys))
    shown = {"x-api-key": issued.key.reveal()}
    events.seen.clear()

    assert (await get(app, "/", shown)).status == 200
    await keys.revoke(issued.record.key_id, tenant_id=issued.record.tenant_id)
    assert (await get(app, "/", shown)).status == 401

    assert [(event.name, event.reason) for event in events.seen] == [
        ("AUTHENTICATION_SUCCEEDED", ""),
        ("API_KEY_REVOKED", ""),
        ("AUTHENTICATION_FAILED", "api_key_revoked"),
    ]
    assert {event.details["api_key_id"] for event in events.seen} == {issued.record.key_id}


async def test_judged_by_the_service_alone_it_is_one_event_of_the_services(
    plain_events: Events,
) -> None:
    """A job that checks a key has no middleware around it."""
    keys = service()

    with pytest.raises(AuthenticationError) as caught:
        await keys.verify("acme_live_nothing")

    assert caught.value.reported
    assert [event.name for event in plain_events.seen] == ["API_KEY_REFUSED"]


async def test_a_throttled_attempt_leaves_the_throttles_event_and_no_other(
    events: Routine,
) -> None:
    """One attempt, one event."""
    throttle = Throttle(limits=ThrottleLimits(address="1 per minute"))
    app = guarded(ThrottledAuthenticator(BearerAuthenticator(verifier()), throttle=throttle))

    statuses = [(await get(app, "/", bearer(b"garbage"))).status for _ in range(2)]

    assert statuses == [401, 429]
    assert [event.name for event in events.seen] == ["AUTHENTICATION_FAILED", "THROTTLED"]


def test_the_throttle_is_had_from_the_room_and_loads_neither_limits_nor_cryptography() -> None:
    """An app without tokens should not pay for theirs, nor need the extra to start."""
    program = (
        "import sys\n"
        "from asgi_guard.auth import Challenger, Throttle, ThrottleLimits, ThrottledAuthenticator\n"
        "print([n for n in ('limits', 'cryptography', 'jwt', 'redis') if n in sys.modules])\n"
    )

    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert run.stdout.strip() == "[]"
