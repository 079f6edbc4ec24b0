"""Downgrades to HS256: after the end, through refresh tokens, and through what is re-signed."""

from __future__ import annotations

import json

import jwt
import pytest

from asgi_guard.auth.jose import Resigner, VerificationKey
from asgi_guard.auth.jose.base64url import b64url_decode
from asgi_guard.errors import ConfigError, RefreshRefusedError
from asgi_guard.secret import Secret
from tests.support.jose_tokens import NOW, access_claims, made, signing_key
from tests.support.refresh_world import World
from tests.support.tenancy_world import MovedClock

SECRET = Secret("an old secret that every service has had for years")
KEY = signing_key()


def stored(secret: str = SECRET.reveal(), **changes: object) -> str:
    claims = access_claims(exp=NOW + 3600, **changes)
    return jwt.encode(claims, secret, "HS256")


def resigner(**options: object) -> Resigner:
    settings = {"secret": SECRET, "key": KEY, "clock": MovedClock(), **options}
    return Resigner(**settings)  # type: ignore[arg-type]


async def test_a_refresh_token_of_the_old_days_refreshes_nothing_here() -> None:
    """Its secret is in every service: any of them could have made it."""
    world = World()
    grant = await world.login()
    claims = access_claims(fam=grant.family, jti=grant.token.jti)
    forged = jwt.encode(claims, SECRET.reveal(), "HS256", headers={"typ": "refresh+jwt"})

    with pytest.raises(RefreshRefusedError) as caught:
        await world.tokens.refresh(forged, client_id="web")
    assert caught.value.reason == "algorithm_not_accepted"


def test_only_what_the_secret_signed_is_signed_anew() -> None:
    """A re-signer that signs what it is shown makes genuine tokens of forged ones."""
    genuine = stored()
    head, body, tail = genuine.split(".")
    forged_body = jwt.encode({**access_claims(sub="root")}, "x" * 32, "HS256").split(".")[1]
    shown = {
        "other secret": stored("another secret that has as many characters"),
        "other payload": f"{head}.{forged_body}.{tail}",
        "no signature": f"{head}.{body}.",
        "none": jwt.encode(access_claims(), None, "none"),  # type: ignore[arg-type]
        "garbage": "garbage",
        "empty": "",
        "no end": jwt.encode({"sub": "alice"}, SECRET.reveal(), "HS256"),
        "not ascii": genuine + "é",
        "other key": made(key=signing_key("ES256", 1)).decode(),
    }

    assert {name: resigner().resign(each).outcome for name, each in shown.items()} == dict.fromkeys(
        shown, "refused"
    )
    assert resigner().resign(genuine).outcome == "resigned"


def test_claims_are_kept_the_kind_is_told_and_twice_is_once() -> None:
    """A stored refresh token must not come back as something that passes for an ID token."""
    done = resigner().resign(stored(jti="r-1"))
    assert done.token is not None
    text = done.token.reveal()
    header, claims = (json.loads(b64url_decode(p.encode()) or b"") for p in text.split(".")[:2])

    assert header == {"alg": "ES256", "kid": KEY.kid, "typ": "refresh+jwt"}
    assert claims["jti"] == "r-1"
    assert claims["exp"] == NOW + 3600
    assert resigner().resign(text).outcome == "done"
    assert text not in repr(done)


def test_a_step_back_gives_the_same_claims_under_the_secret() -> None:
    """Whoever has to go back must lose nobody."""
    there = resigner().resign(stored(jti="r-1")).token
    assert there is not None
    back = resigner(back=True).resign(there.reveal()).token
    assert back is not None

    lenient = {"verify_exp": False, "verify_aud": False}
    claims = jwt.decode(back.reveal(), SECRET.reveal(), ["HS256"], options=lenient)
    assert claims == access_claims(exp=NOW + 3600, jti="r-1")


def test_what_has_expired_is_left_as_it_is() -> None:
    """It opens nothing under either key."""
    expired = jwt.encode(access_claims(exp=NOW - 1), SECRET.reveal(), "HS256")

    assert resigner().resign(expired).outcome == "expired"


def test_after_a_rotation_what_an_older_key_signed_is_done() -> None:
    """A run that lasts over a rotation must not call its own work forged."""
    first = resigner().resign(stored()).token
    assert first is not None
    successor = signing_key("ES256", 2)
    known: dict[str | None, VerificationKey] = {each.kid: each.public for each in (KEY, successor)}

    later = resigner(key=successor, find=lambda kid, _alg: known.get(kid))

    assert later.resign(first.reveal()).outcome == "done"


def test_a_public_key_as_the_secret_is_refused() -> None:
    """The mistake that makes the attack: the PEM in the setting of the secret."""
    pem = "-----BEGIN PUBLIC KEY-----\n" + "A" * 300 + "\n-----END PUBLIC KEY-----"

    with pytest.raises(ConfigError):
        resigner(secret=Secret(pem))
    with pytest.raises(ConfigError):
        resigner(secret=Secret("short"))
