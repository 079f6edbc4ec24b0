"""RemoteKeys: another issuer's keys, fetched seldom, by one, and kept when that fails."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.auth.jose import RemoteKeys, SigningKey
from asgi_guard.auth.jose.jwks_parser import parse_jwks
from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.observability import subscribe
from asgi_guard.protocols import FetchResponse
from tests.support.exchange import Events
from tests.support.jose_tokens import access_claims, made, reason, signing_key, verifier
from tests.support.tenancy_world import MovedClock

URL = "https://id.example/jwks.json"
ALL = ("RS256", "ES256", "EdDSA")


class Publisher:
    """An issuer's server that counts, fails and waits as it is told."""

    def __init__(self, *keys: SigningKey) -> None:
        self.keys = list(keys)
        self.asked = 0
        self.status = 200
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, method: str, url: str, **_options: Any) -> FetchResponse:
        assert (method, url) == ("GET", URL)
        self.asked += 1
        await self.gate.wait()
        body = json.dumps({"keys": [key.jwk for key in self.keys]}).encode()
        return FetchResponse(status=self.status, body=body)


def remote(publisher: Publisher, clock: MovedClock, **options: Any) -> RemoteKeys:
    """Build the source under test."""
    return RemoteKeys(URL, fetch=publisher, algorithms=ALL, clock=clock, **options)


async def settled(keys: RemoteKeys) -> None:
    """Let a fetch in the background come to its end."""
    flight = keys._flight
    if flight is not None:
        await flight


async def test_a_crowd_causes_one_fetch() -> None:
    """A restart under load must not be an attack on the issuer."""
    publisher, clock = Publisher(signing_key()), MovedClock()
    publisher.gate.clear()
    judge = verifier(source=remote(publisher, clock), clock=clock)

    crowd = [asyncio.create_task(judge.verify(made())) for _ in range(100)]
    await asyncio.sleep(0)
    crowd[0].cancel()
    publisher.gate.set()
    found = await asyncio.gather(*crowd, return_exceptions=True)

    assert publisher.asked == 1
    assert isinstance(found[0], asyncio.CancelledError)
    assert all(each.principal.user_id == "alice" for each in found[1:])  # type: ignore[union-attr]


async def test_made_up_names_cause_one_fetch_in_thirty_seconds() -> None:
    """A kid is free to make up; a fetch is not."""
    publisher, clock = Publisher(signing_key()), MovedClock()
    judge = verifier(source=remote(publisher, clock), clock=clock)
    await judge.verify(made())

    for number in range(50):
        assert await reason(made(header={"kid": f"k{number}"}), judge) == "key_unknown"
    assert publisher.asked == 1
    clock.time += 30
    assert await reason(made(header={"kid": "again"}), judge) == "key_unknown"
    assert await reason(made(header={"kid": "again"}), judge) == "key_unknown"
    assert publisher.asked == 2


async def test_a_new_key_is_learnt_and_a_withdrawn_one_forgotten() -> None:
    """With the cached tokens of the withdrawn one, and without those of the one that stayed."""
    old, new, clock = signing_key(), signing_key(number=1), MovedClock()
    publisher = Publisher(old)
    judge = verifier(source=remote(publisher, clock), clock=clock)
    token = made()
    first = await judge.verify(token)

    publisher.keys = [old, new]
    clock.time += 30
    assert (await judge.verify(made(key=new))).kid == new.kid
    assert await judge.verify(token) is first, "the same key is the same object"

    publisher.keys = [new]
    clock.time += 30
    assert await reason(made(header={"kid": "x"}), judge) == "key_unknown"
    assert await reason(token, judge) == "key_unknown"


async def test_after_the_ttl_it_is_fetched_behind_the_request() -> None:
    """Nobody waits for it."""
    publisher, clock = Publisher(signing_key()), MovedClock()
    keys = remote(publisher, clock)
    judge = verifier(source=keys, clock=clock, cache_size=0)
    await judge.verify(made())

    clock.time += 300
    await judge.verify(made())
    assert publisher.asked == 1
    clock.time += 1
    await judge.verify(made())
    await settled(keys)
    assert publisher.asked == 2


async def test_a_failure_evicts_nothing_until_the_bound_and_then_is_a_503() -> None:
    """An issuer's outage is not ours for an hour; for ever would be an attacker's wish."""
    publisher, clock, sink = Publisher(signing_key()), MovedClock(), Events()
    keys = remote(publisher, clock)
    judge = verifier(source=keys, clock=clock, settings={"access_lifetime": 86_400}, cache_size=0)
    token = made(access_claims(exp=int(clock.now()) + 86_400))
    await judge.verify(token)
    publisher.status = 500
    stop = subscribe(sink)

    clock.time += 3900
    assert await judge.verify(token)
    await settled(keys)
    clock.time += 1
    with pytest.raises(UnavailableError):
        await judge.verify(token)
    stop()
    assert [event.name for event in sink.seen] == ["JWKS_FETCH_FAILED"]

    publisher.status = 200
    clock.time += 30
    assert await judge.verify(token)


async def test_an_issuer_that_never_answered_is_a_503_and_is_not_hammered() -> None:
    """Not a 401: the token may be good."""
    publisher, clock = Publisher(signing_key()), MovedClock()
    publisher.status = 404
    stop = subscribe(Events())
    judge = verifier(source=remote(publisher, clock), clock=clock)

    for _ in range(10):
        with pytest.raises(UnavailableError):
            await judge.verify(made())
    stop()
    assert publisher.asked == 1


EC, RSA = signing_key().jwk, signing_key("RS256").jwk


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b'{"keys":{}}',
        b'{"keys":[]}',
        b'{"keys":[],"keys":[]}',
        {"keys": [7]},
        {"keys": [EC, {**RSA, "d": "AQ"}]},
        {"keys": [EC, {"kty": "oct", "k": "A" * 43, "kid": "s"}]},
        {"keys": [EC, {**RSA, "kid": EC["kid"]}]},
        {"keys": [EC, {name: RSA[name] for name in RSA if name != "kid"}]},
        {"keys": [EC] * 65},
        {"keys": [{**RSA, "use": "enc"}]},
        {"keys": [{**RSA, "alg": "RSA-OAEP"}]},
    ],
)
def test_a_doubtful_document_is_refused_whole(document: Any) -> None:
    """Who publishes private or symmetric keys has lost control (CVE-2022-29217's other half)."""
    text = document if isinstance(document, bytes) else json.dumps(document).encode()

    with pytest.raises(ConfigError):
        parse_jwks(text, algorithms=ALL)


def test_keys_that_are_not_for_us_are_left_out() -> None:
    """RFC 7517 section 5: unknown kinds, other uses, missing members."""
    others = [{**RSA, "use": "enc"}, {"kty": "future"}, {**EC, "crv": "P-999"}, {**RSA, "e": "AQ"}]
    unnamed = {name: EC[name] for name in EC if name != "alg"}

    keys = parse_jwks(json.dumps({"keys": [*others, unnamed]}).encode(), algorithms=ALL)

    assert [(kid, key.algorithm) for kid, key in keys.items()] == [(EC["kid"], "ES256")]
    with pytest.raises(ConfigError):
        parse_jwks(
            json.dumps({"keys": [{n: RSA[n] for n in RSA if n != "alg"}]}).encode(),
            algorithms=("RS256", "PS256"),
        )


@given(st.binary() | st.dictionaries(st.just("keys"), st.lists(st.dictionaries(
    st.sampled_from([*RSA, "crv", "x", "key_ops"]), st.text() | st.integers() | st.none()
))).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_document_is_keys_or_our_error(document: bytes) -> None:
    """It comes over the network."""
    with pytest.raises(ConfigError):
        parse_jwks(document, algorithms=ALL)


@pytest.mark.parametrize(
    "options",
    [
        {"url": "http://id.example/jwks"},
        {"url": "file:///etc/passwd"},
        {"url": ""},
        {"algorithms": ()},
        {"algorithms": ("HS256",)},
        {"ttl": 0},
        {"cooldown": 0},
        {"stale_for": -1},
    ],
    ids=str,
)
def test_wrong_options_are_refused_when_built(options: dict[str, Any]) -> None:
    """Whoever controls the address of the keys is every user."""
    given_url = options.pop("url", URL)
    with pytest.raises(ConfigError):
        RemoteKeys(given_url, fetch=Publisher(), **options)
