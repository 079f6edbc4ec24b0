"""A key shows up nowhere, a stolen table opens nothing, and a written one neither."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.auth import AuthenticationMiddleware
from asgi_guard.auth.api_keys import APIKey, APIKeyAuthenticator
from asgi_guard.errors import AuthenticationError
from asgi_guard.observability import LogSink, subscribe
from asgi_guard.secret import Secret
from tests.support.api_keys_world import FORMAT, PEPPER, CountingStore, make, service
from tests.support.exchange import http_scope
from tests.support.passwords_people import listening
from tests.support.tenancy_calls import get
from tests.support.tenancy_world import ACME


def _chain(error: BaseException) -> str:
    """Return what an error tracker would send: the chain, with the locals of our frames."""
    parts: list[str] = []
    link: BaseException | None = error
    while link is not None:
        parts += [repr(link), str(link)]
        trace = link.__traceback__
        while trace is not None:
            if "/asgi_guard/auth/api_keys/" in trace.tb_frame.f_code.co_filename:
                held = trace.tb_frame.f_locals
                # The request itself is held by every frame of server and app.
                parts.append(repr({name: held[name] for name in held if name != "scope"}))
            trace = trace.tb_next
        link = link.__cause__ or link.__context__
    return "\n".join(parts)


async def test_no_key_is_seen_whatever_happens(
    caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    """Events, logs, reprs, exceptions and their frames; for good keys and for refused ones."""
    caplog.set_level(logging.DEBUG)
    store = CountingStore()
    keys = service(store, cache_ttl=0)
    issued, unknown = await make(keys), FORMAT.new_key()
    authenticator = APIKeyAuthenticator(keys)
    errors: list[BaseException] = []

    with listening() as events:
        unsubscribe = subscribe(LogSink())
        for key in (issued.key.reveal(), unknown.reveal(), unknown.reveal() + "x"):
            for broken in (False, True):
                store.broken = broken
                scope = http_scope(headers={"x-api-key": key})
                try:
                    await authenticator.authenticate(scope)
                except Exception as error:
                    errors.append(error)
                await get(_app(authenticator), headers={"authorization": f"Bearer {key}"})
        unsubscribe()

    assert len(errors) == 5
    printed = capfd.readouterr()
    objects = [issued, issued.record, vars(store), vars(keys), vars(keys._verifier)]
    seen = "\n".join(
        [*map(_chain, errors), repr(events.seen), repr(objects), caplog.text, *printed]
    )
    for key in (issued.key, unknown):
        assert key.reveal()[15:] not in seen
    assert PEPPER.reveal() not in seen
    assert repr(issued.record.digest) not in repr(issued)


def _app(authenticator: APIKeyAuthenticator) -> AuthenticationMiddleware:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": repr(scope["user"]).encode()})

    return AuthenticationMiddleware(app, authenticators=[authenticator])


async def test_the_search_would_find_a_key() -> None:
    """Negative control: a key in the message of an exception, and one in a plain record."""
    key = FORMAT.new_key()

    assert key.reveal() in _chain(ValueError(f"bad key {key.reveal()}"))
    assert key.reveal() not in _chain(ValueError(f"bad key {key}"))


async def test_a_row_written_by_an_attacker_opens_nothing() -> None:
    """SQL injection into the table: without the pepper no digest can be made that fits a key."""
    store, chosen = CountingStore(), FORMAT.new_key()
    keys, attackers = service(store), service(CountingStore(), pepper=Secret("guess" * 10))
    genuine = (await make(keys)).record
    digest = attackers._maker._peppers.digests(chosen.reveal())[0]
    forged = {**_fields(genuine), "key_id": "forged", "digest": digest}
    await store.add(APIKey(**forged))

    with pytest.raises(AuthenticationError):
        await keys.verify(chosen.reveal())


async def test_with_the_pepper_the_same_row_opens() -> None:
    """Negative control: it is the pepper that stops it."""
    store, chosen = CountingStore(), FORMAT.new_key()
    keys = service(store)
    genuine = (await make(keys)).record
    digest = keys._maker._peppers.digests(chosen.reveal())[0]
    await store.add(APIKey(**{**_fields(genuine), "key_id": "forged", "digest": digest}))

    assert (await keys.verify(chosen.reveal())).tenant_id == ACME


def _fields(record: APIKey) -> dict[str, Any]:
    return {name: getattr(record, name) for name in APIKey.__dataclass_fields__}


@given(st.binary(max_size=200), st.sampled_from([b"x-api-key", b"authorization"]))
async def test_no_header_makes_anything_but_an_answer_of_ours(value: bytes, name: bytes) -> None:
    """Never a 400 or 500, whatever the bytes."""
    scope = {**http_scope(), "headers": [(name, value)]}
    authenticator = APIKeyAuthenticator(service())

    challenge = b"www-authenticate"
    with listening():
        try:
            principal = await authenticator.authenticate(scope)
        except AuthenticationError as refusal:
            principal, challenge = None, refusal.headers[0][0]

    assert principal is None
    assert challenge == b"www-authenticate"
