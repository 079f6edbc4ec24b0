"""The cache of verified tokens remembers no longer, and no more, than it may."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_guard.auth.jose import SigningKey, VerificationKey, VerifiedToken
from tests.support.jose_tokens import access_claims, made, reason, signing_key, verifier
from tests.support.tenancy_world import MovedClock

_TOKEN = made()


class Source:
    """Keys that a test takes away, and that counts verifications."""

    def __init__(self, *keys: SigningKey) -> None:
        self.keys: dict[str | None, VerificationKey] = {key.kid: key.public for key in keys}
        self.looked = 0

    def find(self, kid: str | None, _algorithm: str) -> VerificationKey | None:
        return self.keys.get(kid)

    async def look_again(self, _kid: str | None) -> None:
        self.looked += 1


async def test_the_second_time_is_the_same_object() -> None:
    """Nothing is parsed or verified again."""
    judge = verifier()

    assert await judge.verify(_TOKEN) is await judge.verify(_TOKEN)


async def test_no_size_no_memory() -> None:
    """Control: without the cache each verification is a new object."""
    judge = verifier(cache_size=0)

    assert await judge.verify(_TOKEN) is not await judge.verify(_TOKEN)


async def test_a_cached_token_expires_to_the_moment() -> None:
    """With the skew that was forgiven, and not a second more."""
    clock = MovedClock()
    judge = verifier(clock=clock)
    await judge.verify(_TOKEN)

    clock.time += 629.9
    assert await judge.verify(_TOKEN)
    clock.time += 0.1
    assert await reason(_TOKEN, judge) == "token_expired"


async def test_a_key_that_is_revoked_takes_its_cached_tokens_along() -> None:
    """Or a stolen key would work until its tokens expire."""
    source = Source(signing_key())
    judge = verifier(source=source)
    await judge.verify(_TOKEN)

    source.keys.clear()

    assert await reason(_TOKEN, judge) == "key_unknown"
    assert source.looked == 1


async def test_another_key_under_the_same_name_does_not_inherit() -> None:
    """The cache compares the key, not its name."""
    source = Source(signing_key())
    judge = verifier(source=source)
    await judge.verify(_TOKEN)

    source.keys[signing_key().kid] = signing_key(number=1).public

    assert await reason(_TOKEN, judge) == "signature_invalid"


async def test_a_token_with_another_signature_or_type_is_not_the_cached_one() -> None:
    """CVE class: a cache keyed by header and payload, or by jti, takes forged signatures."""
    judge = verifier(settings={"types": ("access", "refresh")})
    await judge.verify(_TOKEN)
    head, body, tail = _TOKEN.split(b".")

    forged = b".".join([head, body, tail[::-1][1:] + b"A"])
    assert await reason(forged, judge) in {"signature_invalid", "token_malformed"}
    assert await reason(b".".join([head, body, b"AA" + tail[2:]]), judge) == "signature_invalid"
    assert await reason(_TOKEN, judge, token_type="refresh") == "type_not_accepted"


async def test_it_does_not_grow_beyond_its_size() -> None:
    """A login flood must not become memory."""
    judge = verifier(cache_size=10)
    tokens = [made(access_claims(jti=f"t-{number}")) for number in range(40)]

    for token in tokens:
        await judge.verify(token)

    assert 0 < len(judge._cache) <= 10
    newest = await judge.verify(tokens[-1])
    assert newest is await judge.verify(tokens[-1])


async def test_expired_tokens_make_room_first() -> None:
    """Before any that still serve."""
    clock = MovedClock()
    judge = verifier(cache_size=3, clock=clock)
    soon = [made(access_claims(jti=f"s-{n}", exp=int(clock.now()) + 1)) for n in range(2)]
    kept = await judge.verify(_TOKEN)
    for token in soon:
        await judge.verify(token)

    clock.time += 32
    await judge.verify(made(access_claims(jti="new")))

    assert await judge.verify(_TOKEN) is kept


async def test_a_revoked_token_is_refused_from_the_cache_as_well() -> None:
    """The hook is asked on each use."""
    revoked: set[Any] = set()

    def is_revoked(token: VerifiedToken) -> bool:
        return token.claims["jti"] in revoked

    judge = verifier(is_revoked=is_revoked)
    await judge.verify(_TOKEN)

    revoked.add("t-1")

    assert await reason(_TOKEN, judge) == "token_revoked"


async def test_it_can_be_emptied() -> None:
    """For whoever must be sure."""
    judge = verifier()
    first = await judge.verify(_TOKEN)

    judge.forget_verified()

    assert await judge.verify(_TOKEN) is not first


async def test_refusals_are_not_remembered() -> None:
    """A key that appears later is believed."""
    source = Source()
    judge = verifier(source=source)
    assert await reason(_TOKEN, judge) == "key_unknown"

    source.keys[signing_key().kid] = signing_key().public

    assert await judge.verify(_TOKEN)


@pytest.mark.parametrize("change", [{"skew": 0}, {"access_lifetime": 601}])
def test_another_policy_has_other_names(change: dict[str, Any]) -> None:
    """One cache could be shared without one policy's verdict passing for another's."""
    ours, theirs = verifier(), verifier(settings=change)

    assert ours._cache.name(_TOKEN, "access") != theirs._cache.name(_TOKEN, "access")
    assert ours._cache.name(_TOKEN, "access") != ours._cache.name(_TOKEN, "id")
