"""DualAlgorithmVerifier: both families until a date, and no way from one into the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from asgi_guard.auth import BearerAuthenticator
from asgi_guard.auth.jose import (
    DualAlgorithmVerifier,
    JwtPolicy,
    KeySet,
    PinnedKey,
    TokenVerifier,
    VerificationKey,
)
from asgi_guard.auth.jose.jwk import public_jwk
from asgi_guard.errors import AuthenticationError, ConfigError
from asgi_guard.observability import subscribe
from tests.support.exchange import Events, http_scope
from tests.support.jose_tokens import (
    NOW,
    access_claims,
    made,
    policy,
    signing_key,
    verifier,
)
from tests.support.tenancy_tokens import b64
from tests.support.tenancy_world import MovedClock

SECRET = "an old secret that every service has had for years"
RSA = signing_key("RS256")
END = NOW + 3600


class Pair:
    """The two sides, and a clock for both."""

    def __init__(self, *, kid: str | None = None, until: float = END) -> None:
        self.clock = MovedClock()
        legacy = TokenVerifier(
            policy(algorithms=("HS256",), insecure_untyped_access=True),
            keys=KeySet([VerificationKey(SECRET, algorithm="HS256", kid=kid)]),
            clock=self.clock,
        )
        current = verifier(RSA, policy=policy(algorithms=("RS256",)), clock=self.clock)
        self.judge = DualAlgorithmVerifier(
            current=current, legacy=legacy, until=until, clock=self.clock
        )

    async def reason(self, token: bytes | str) -> str:
        with pytest.raises(AuthenticationError) as caught:
            await self.judge.verify(token)
        assert caught.value.__context__ is None
        return caught.value.reason


def old_token(secret: Any = SECRET, header: dict[str, Any] | None = None, **changes: Any) -> bytes:
    return hmac_signed(secret, {"alg": "HS256", "typ": "JWT", **(header or {})}, **changes)


def hmac_signed(secret: Any, header: dict[str, Any], **changes: Any) -> bytes:
    """Sign by HMAC, whatever the header says."""
    key = secret if isinstance(secret, bytes) else secret.encode()
    message = b64(json.dumps(header).encode()) + b"." + b64(access_claims(**changes))
    return message + b"." + b64(jwt.get_algorithm_by_name("HS256").sign(message, key))


NEW = made(key=RSA)


@pytest.fixture
def events() -> Iterator[Events]:
    sink = Events()
    unsubscribe = subscribe(sink)
    yield sink
    unsubscribe()


async def test_both_are_accepted_and_counted(events: Events) -> None:
    """The count is how an operator knows when it can end."""
    pair = Pair()

    for token in (old_token(), NEW, NEW, old_token()):
        assert (await pair.judge.verify(token)).claims["sub"] == "alice"

    assert pair.judge.counts == {"HS256": 2, "RS256": 2}
    (event,) = events.seen
    assert (event.name, event.details["count"]) == ("LEGACY_TOKEN_ACCEPTED", 1)
    pair.clock.time += 60
    await pair.judge.verify(old_token())
    assert events.seen[1].details["count"] == 2, "none is left out, and none has one of its own"


async def test_from_the_end_on_the_old_ones_are_refused_with_a_reason_of_their_own() -> None:
    """Also those that were verified a second before, and stand in the cache."""
    pair = Pair()
    long = old_token(iat=NOW + 3300, exp=NOW + 3900)
    pair.clock.time = END - 1
    assert await pair.judge.verify(long)
    pair.clock.time = END

    assert await pair.reason(long) == "legacy_algorithm_ended"
    assert await pair.judge.verify(made(access_claims(iat=END, exp=END + 60), key=RSA))


async def test_it_stands_where_a_verifier_does() -> None:
    """An app changes one line."""
    authenticator = BearerAuthenticator(Pair().judge)
    for token in (old_token(), NEW):
        scope = http_scope(headers={"authorization": f"Bearer {token.decode()}"})
        principal = await authenticator.authenticate(scope)
        assert principal is not None
        assert principal.user_id == "alice"


def public_spellings() -> dict[str, bytes]:
    """Every way in which an RSA public key could be taken for a secret (CVE-2016-10555)."""
    key = RSA.public.public_key
    spki = PublicFormat.SubjectPublicKeyInfo
    pem = key.public_bytes(Encoding.PEM, spki)
    return {
        "pem": pem,
        "pem without the last line end": pem.rstrip(b"\n"),
        "pem in one line": pem.replace(b"\n", b""),
        "pkcs1 pem": key.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        "der": key.public_bytes(Encoding.DER, spki),
        "ssh": key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        "jwk": json.dumps(public_jwk(key)).encode(),
        "modulus": public_jwk(key)["n"].encode(),
        "kid": RSA.kid.encode(),
        "nothing": b"",
    }


@pytest.mark.parametrize("spelling", public_spellings())
async def test_a_public_key_is_nobodys_secret(spelling: str) -> None:
    """What the JWKS publishes must sign nothing, whichever kid is named."""
    secret = public_spellings()[spelling]
    for header in ({}, {"kid": RSA.kid}, {"kid": "legacy"}):
        token = old_token(secret, header)
        for pair in (Pair(), Pair(kid="legacy")):
            assert await pair.reason(token) in {"signature_invalid", "key_unknown"}


async def test_a_secret_that_is_public_would_be_seen_by_the_test_above() -> None:
    """Negative control: with the key that the JWKS publishes as the secret, the attack works."""
    public = public_spellings()["der"]
    pair = Pair()
    pair.judge._legacy = TokenVerifier(
        policy(algorithms=("HS256",), insecure_untyped_access=True),
        keys=PinnedKey(VerificationKey(public, algorithm="HS256")),
        clock=pair.clock,
    )

    assert await pair.judge.verify(old_token(public))


async def test_the_kid_of_the_other_side_finds_nothing() -> None:
    """A kid chooses among the keys of one side, never the side."""
    swapped = old_token(header={"kid": RSA.kid})
    crossed = made(key=RSA, header={"kid": "legacy"})

    assert await Pair(kid="legacy").reason(swapped) == "key_unknown"
    assert await Pair(kid="legacy").reason(crossed) == "key_unknown"


@pytest.mark.parametrize(
    "alg", ["hs256", "Hs256", "HS256 ", "HS512", "HS384", "none", "None", "nOnE", "", "RS256\x00"]
)
async def test_no_other_spelling_of_an_algorithm_is_one(alg: str) -> None:
    """CVE-2018-1000531 and its kin: a check in one case, a lookup in another."""
    assert await Pair().reason(hmac_signed(SECRET, {"alg": alg, "typ": "at+jwt"})) == (
        "algorithm_not_accepted"
    )


@pytest.mark.parametrize("alg", [None, 7, ["HS256"], {"HS256": 1}, True], ids=repr)
async def test_an_algorithm_that_is_no_text_is_none(alg: Any) -> None:
    """Loose comparison is where confusions begin."""
    assert await Pair().reason(hmac_signed(SECRET, {"alg": alg, "typ": "at+jwt"})) == (
        "algorithm_not_accepted"
    )


async def test_a_signature_of_one_side_under_the_name_of_the_other_is_refused() -> None:
    """Both directions of the confusion."""
    pair = Pair()

    assert await pair.reason(hmac_signed(SECRET, {"alg": "RS256", "kid": RSA.kid, "typ": "at+jwt"})) == "signature_invalid"  # fmt: skip  # noqa: E501 - one row
    assert await pair.reason(made(key=RSA, header={"alg": "HS256"})) == "signature_invalid"


async def test_two_headers_in_one_are_no_header() -> None:
    """A chooser that reads the first alg and a verifier that reads the last would disagree."""
    header = b'{"alg":"HS256","alg":"RS256","kid":"' + RSA.kid.encode() + b'","typ":"at+jwt"}'

    assert await Pair().reason(made(key=RSA, header=header)) == "token_not_json"


@pytest.mark.parametrize("token", [b"", b".", b"..", b"a.b.c", b"\xff.\xff.\xff", b"." * 9000])
async def test_what_is_no_token_is_refused_by_the_current_side(token: bytes) -> None:
    """The chooser must not be a parser with faults of its own."""
    assert await Pair().reason(token)


@pytest.mark.parametrize(
    "change",
    [{"until": NOW + 400 * 86_400}, {"until": 0}, {"until": None}, {"until": "2030"},
     {"until": float("inf")}, {"swap": True}, {"same": True}],
    ids=["two years", "zero", "none", "text", "never", "swapped", "same family"],
)  # fmt: skip
def test_sides_that_are_mixed_up_and_ends_that_never_come_are_refused_when_built(
    change: dict[str, Any],
) -> None:
    """A migration without an end is two algorithms for ever."""
    key = VerificationKey(SECRET, algorithm="HS256")
    old = TokenVerifier(policy(algorithms=("HS256",)), keys=PinnedKey(key))
    new = verifier(RSA, policy=policy(algorithms=("RS256",)))
    sides = {"current": new, "legacy": old}
    if change.pop("swap", False):
        sides = {"current": old, "legacy": new}
    if change.pop("same", False):
        sides = {"current": new, "legacy": new}

    with pytest.raises(ConfigError):
        DualAlgorithmVerifier(**sides, **{"until": END, "clock": MovedClock(), **change})


def test_one_policy_can_still_not_hold_both() -> None:
    """The only way to have both is the one with an end."""
    with pytest.raises(ConfigError, match="mixes"):
        JwtPolicy(issuer="i", audience="a", algorithms=("HS256", "RS256"))
