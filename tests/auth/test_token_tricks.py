"""Tokens with a trick in them: each has been somebody's advisory, and each is a plain 401."""

from __future__ import annotations

import json

import jwt
import pytest

from asgi_guard.errors import AuthenticationError
from tests.support.tenancy_tokens import (
    SECRET,
    authenticator,
    b64,
    claims,
    private_key,
    public_pem,
    signed,
    signed_as_is,
)
from tests.support.tenancy_verify import reason

GOOD = signed()
HEAD, BODY, TAIL = GOOD.split(b".")
CLAIMS = json.dumps(claims(exp=None)).encode()[:-1]


def made_of(*parts: bytes) -> bytes:
    """Join the parts of a token."""
    return b".".join(parts)


def respelled(part: bytes) -> bytes:
    """Spell the same bytes differently: change bits that base64url does not use."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(part[-1:])
    return part[:-1] + alphabet[last + 1 : last + 2]


def with_header(header: object) -> bytes:
    """Put another header before a payload and a signature that were made for the good one."""
    return made_of(b64(json.dumps(header).encode()), BODY, TAIL)


def with_payload(text: bytes) -> bytes:
    """Sign *text* as the payload."""
    return signed_as_is(b64(text))


MALFORMED = {
    "empty": b"",
    "words": b"not a token",
    "two parts": made_of(HEAD, BODY),
    "four parts": made_of(GOOD, b"AA"),
    "five parts, as when encrypted": made_of(GOOD, b"AA", b"AA"),
    "padding": GOOD + b"=",
    "plain base64": GOOD[:-1] + b"+",
    "a space inside": made_of(HEAD, b" " + BODY, TAIL),
    "a second token": GOOD + b", " + GOOD,
    "another spelling": made_of(HEAD, BODY, respelled(TAIL)),
    "one letter of base64": made_of(HEAD, b"A", TAIL),
    "beyond ascii": GOOD + "\u0430".encode(),
}
ALGORITHM = {
    "none": made_of(b64({"alg": "none"}), BODY, b""),
    "NoNe": made_of(b64({"alg": "NoNe"}), BODY, b""),
    "missing": with_header({"typ": "JWT"}),
    "list": with_header({"alg": ["HS256"]}),
    "another one": signed(algorithm="HS512"),
}
SIGNATURE = {
    "none": made_of(HEAD, BODY, b""),
    "another secret's": signed(key=SECRET[::-1]),
    "another payload's": made_of(HEAD, b64(claims(sub="admin")), TAIL),
    "another header's": with_header({"alg": "HS256"}),
}
TYPE = {
    "logout": signed(header={"typ": "logout+jwt"}),
    "dpop": signed(header={"typ": "dpop+jwt"}),
    "number": signed_as_is(BODY, b64({"alg": "HS256", "typ": 7})),
}
CRIT = {
    "crit": signed(header={"crit": ["exp"], "exp": 1}),
    "b64": signed_as_is(BODY, b64({"alg": "HS256", "b64": False})),
}
NOT_JSON = {
    "header is a list": with_header(["HS256"]),
    "header is cut": made_of(b64(b"{"), BODY, TAIL),
    "header names alg twice": signed_as_is(BODY, b64(b'{"alg":"none","alg":"HS256"}')),
    "header is deep": made_of(b64(b'{"a":' * 2000), BODY, TAIL),
    "payload is text": with_payload(b'"alice"'),
    "payload is not utf-8": with_payload(b'{"sub":"\xff"}'),
    "payload names sub twice": with_payload(CLAIMS + b',"sub":"admin"}'),
    "payload holds NaN": with_payload(b'{"exp":NaN}'),
    "payload holds Infinity": with_payload(b'{"exp":Infinity}'),
    "payload holds 1e999": with_payload(CLAIMS + b',"exp":1e999}'),
    "payload holds half a surrogate pair": with_payload(CLAIMS + b',"name":"\\uD83D"}'),
    "payload names half a surrogate pair": with_payload(CLAIMS + b',"\\udc00":1}'),
    "payload holds a long number": with_payload(b'{"exp":' + b"9" * 5000 + b"}"),
    "payload is deep": with_payload(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"),
}
TRICKS = {
    "token_malformed": MALFORMED,
    "token_too_long": {"17 KiB": made_of(HEAD, b"A" * 17 * 1024, TAIL)},
    "algorithm_not_accepted": ALGORITHM,
    "signature_invalid": SIGNATURE,
    "type_not_accepted": TYPE,
    "crit_not_understood": CRIT,
    "token_not_json": NOT_JSON,
    "key_in_header": {
        name: signed(header={name: value})
        for name, value in [("jwk", {}), ("jku", ""), ("x5u", ""), ("x5c", [])]
    },
}
CASES = [
    pytest.param(token, expected, id=f"{expected}: {name}")
    for expected, tokens in TRICKS.items()
    for name, token in tokens.items()
]


@pytest.mark.parametrize(("token", "expected"), CASES)
async def test_a_token_with_any_trick_in_it_is_refused_by_name(token: bytes, expected: str) -> None:
    """The operator reads which trick it was."""
    assert await reason(token) == expected


async def test_a_public_key_used_as_a_secret_signs_nothing() -> None:
    """CVE-2016-10555 and its many kin: HS256 over the RSA public key."""
    pem = public_pem("rsa-2048")
    signing_input = b64({"alg": "HS256"}) + b"." + BODY
    forged = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        signing_input, pem.encode()
    )
    token = signing_input + b"." + b64(forged)

    assert await reason(token, key=pem, algorithm="RS256") == "algorithm_not_accepted"


async def test_keys_that_a_token_brings_along_are_not_used() -> None:
    """CVE-2018-0114: the attacker's own key in the header, or the address of one."""
    attacker = private_key("p-256")
    own = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(attacker.public_key()))
    header = {"jwk": own, "jku": "https://evil.example/jwks", "x5u": "https://evil.example/x5"}
    token = signed(key=attacker, algorithm="ES256", header=header)
    theirs = {"key": private_key("p-256").public_key(), "algorithm": "ES256"}
    assert await reason(token, **theirs) == "key_in_header", "even where the signature holds"

    other = authenticator(key=public_pem("rsa-2048"), algorithm="RS256")
    with pytest.raises(AuthenticationError):
        await other.authenticate(
            {"type": "http", "headers": [(b"authorization", b"Bearer " + token)]}
        )
