"""DPoP inside a whole guard: what a client sees of it through all layers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from asgi_guard.observability import subscribe
from asgi_guard.stack import Guard
from tests.support.dpop_world import (
    Reached,
    authenticator,
    bound_token,
    nonces,
    proof,
    request,
    validator,
)
from tests.support.exchange import Answer, Events, ask
from tests.support.hosts_guard import ACME, guard_settings
from tests.support.tenancy_world import MovedClock

TOKEN = bound_token()
START = 1_700_000_040.0  # a step of the nonces begins


@pytest.fixture
def events() -> Iterator[Events]:
    sink = Events()
    leave = subscribe(sink)
    yield sink
    leave()


async def asked(
    clock: MovedClock, *proofs: bytes, app: Reached, token: bytes | None = TOKEN
) -> Answer:
    """Send one request to *app* behind a guard."""
    judge = validator(nonces=nonces(clock=clock), clock=clock)
    takes = [authenticator(judge, clock=clock)]
    guarded = Guard(guard_settings(authenticators=takes, clock=clock)).install(app)
    return await ask(guarded, request(*proofs, token=token, more=[("x-tenant", ACME)]))


def told(answer: Answer, name: str) -> list[str]:
    return [value for key, value in answer.headers if key == name]


async def test_a_client_is_led_from_nothing_to_its_data(events: Events) -> None:
    """Told of DPoP, asked for a nonce, let in, and given the next nonce: one event per refusal."""
    clock = MovedClock(START)
    first = nonces(clock=clock).current()
    app = Reached()

    nothing = await asked(clock, app=app, token=None)
    plain = await asked(clock, proof(token=TOKEN, iat=START), app=app)
    good = await asked(clock, proof(token=TOKEN, iat=START, nonce=first), app=app)
    clock.time += 120
    late = await asked(clock, proof(token=TOKEN, iat=clock.time, nonce=first), app=app)

    assert told(nothing, "www-authenticate") == ['DPoP algs="ES256 EdDSA"']
    assert (plain.status, told(plain, "dpop-nonce")) == (401, [first])
    assert (good.status, told(good, "dpop-nonce")) == (200, [])
    assert app.users == ["alice", "alice"]
    assert told(late, "dpop-nonce") == [nonces(clock=clock).current()]
    assert told(late, "cache-control") == ["no-store"]
    assert [event.name for event in events.seen] == ["TENANT_REFUSED", "AUTHENTICATION_FAILED"]
