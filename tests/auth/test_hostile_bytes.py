"""Whatever the bytes: 401 or a principal, never an error, never a token in plain sight."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.auth import AuthenticationMiddleware
from asgi_guard.errors import AuthenticationError
from asgi_guard.observability import LogSink, subscribe
from asgi_guard.protocols import Receive, Scope, Send
from tests.support.exchange import Answer, Events
from tests.support.tenancy_calls import get
from tests.support.tenancy_tokens import authenticator, b64, claims, signed, signed_as_is

CANARY = "canary7f3a9c"


async def ok(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer 200."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


APP = AuthenticationMiddleware(ok, authenticators=[authenticator()])


def status_of(header: bytes) -> int:
    """Send one Authorization header and return the status."""
    sink = subscribe(Events())
    try:
        answer = asyncio.run(get(APP, headers=[("authorization", header.decode("latin-1"))]))
    finally:
        sink()
    return answer.status


@given(st.binary(max_size=400))
def test_any_bytes_after_bearer_are_a_401(junk: bytes) -> None:
    """RFC 6750 section 3.1."""
    assert status_of(b"Bearer " + junk) == 401


@given(st.binary(max_size=100))
def test_any_bytes_as_the_whole_header_are_nobody_or_a_401(junk: bytes) -> None:
    """Another scheme is for another authenticator; nothing is a 500."""
    assert status_of(junk) in {200, 401}


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_good_token_with_one_byte_changed_is_a_401(position: int, byte: int) -> None:
    """No bit of a token is free to choose."""
    token = bytearray(signed())
    position %= len(token)
    if token[position] == byte:
        return
    token[position] = byte

    # A space at either end is not part of the token.
    expected = {401} if bytes(token).strip(b" ") != signed() else {200}
    assert status_of(b"Bearer " + bytes(token)) in expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat", "scope", "roles", "tenant_id"])
        | st.sampled_from(["sid", "cnf", "jti"]),
        JSON,
    )
)
def test_any_claims_under_a_good_signature_are_a_principal_or_a_401(
    changes: dict[str, Any],
) -> None:
    """An issuer with a bug, or one that was broken into, must not take the app down."""
    payload = json.dumps({**claims(), **changes}).encode()

    assert status_of(b"Bearer " + signed_as_is(b64(payload))) in {200, 401}


@given(st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "cty"]), JSON))
def test_any_header_under_a_good_signature_is_a_principal_or_a_401(header: dict[str, Any]) -> None:
    """The header is the part an attacker writes."""
    token = signed_as_is(b64(claims()), b64(json.dumps({"alg": "HS256", **header}).encode()))

    assert status_of(b"Bearer " + token) in {200, 401}


def leaks(text: str) -> bool:
    """Tell whether *text* shows the canary, as it was sent or encoded."""
    return CANARY in text or b64(CANARY.encode()).decode()[:-2] in text


TOKENS = {
    "words": CANARY.encode(),
    "three parts": f"{CANARY}.{CANARY}.{CANARY}".encode(),
    "cut json": b64(b'{"alg":"HS256","' + CANARY.encode()) + b".e30.AA",
    "alg": signed_as_is(b64(claims()), b64({"alg": CANARY})),
    "claims": signed_as_is(b64(claims(sub=f"{CANARY}\n"))),
    "issuer": signed_as_is(b64(claims(iss=CANARY))),
    "payload": signed_as_is(b64(b'{"sub": "' + CANARY.encode())),
    "too long": CANARY.encode() * 2000,
}


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
async def test_no_part_of_a_refused_token_can_be_read_anywhere(
    token: bytes, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not in the answer, the event, the log, the exception, its causes, or anybody's repr."""
    caplog.set_level(logging.DEBUG)
    sink, log = Events(), LogSink()
    unsubscribe = [subscribe(sink), subscribe(log)]
    verifier = authenticator()
    scope = {"type": "http", "headers": [(b"authorization", b"Bearer " + token)]}

    with pytest.raises(AuthenticationError) as caught:
        await verifier.authenticate(scope)
    answer: Answer = await get(APP, headers={"authorization": f"Bearer {token.decode()}"})
    for stop in unsubscribe:
        stop()

    error = caught.value
    printed = capsys.readouterr()
    places = {
        "answer": repr(answer.sent),
        "events": repr(sink.seen),
        "log": caplog.text + printed.out + printed.err,
        "error": f"{error!r} {error} {error.args} {error.reason} {error.headers}",
        "chain": repr((error.__cause__, error.__context__)),
        "traceback": "".join(traceback.format_exception(error)),
        "repr": repr(verifier) + repr(APP),
    }
    assert len(sink.seen) == 1
    assert [name for name, text in places.items() if leaks(text)] == []


def test_control_the_canary_is_found_where_it_leaks() -> None:
    """A JSON error as Python raises it quotes its whole input."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - JSONDecodeError is a ValueError
        json.loads(f'{{"{CANARY}')

    assert leaks(repr(vars(caught.value)))
    assert leaks(b64(CANARY.encode()).decode())
    assert not leaks(sys.version)
