"""Project Wycheproof's JSON Web Signature and Key vectors: what must verify does, no more.

The vectors are not ours and in no package. Name a checkout of C2SP/wycheproof in
``ASGI_GUARD_WYCHEPROOF``; without it the tests are skipped.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from asgi_guard.auth.jose import KeySet, VerificationKey
from asgi_guard.auth.jose.compact_jws import check_header, parse_compact_jws
from asgi_guard.auth.jose.jwk import verification_key_of
from asgi_guard.auth.jose.jwks_parser import parse_jwks
from asgi_guard.errors import AuthenticationError, ConfigError

# Test cases that we decide otherwise, on purpose.
DEVIATIONS = {
    **dict.fromkeys((259, 264, 268, 272, 320, 325), "an empty payload is no JWT (RFC 7519, 7.2)"),
    **dict.fromkeys((346, 350), "the key is for PS256 and the token says PS384"),
    **dict.fromkeys((347, 351), "the key is for ES521, which is no algorithm"),
    **dict.fromkeys((367, 370), "letter by letter a token that other cases call valid"),
    **dict.fromkeys((372, 373), "RFC 7515 section 5.2: no additional characters"),
}
CHECKOUT = os.environ.get("ASGI_GUARD_WYCHEPROOF", "")
needs_vectors = pytest.mark.skipif(not CHECKOUT, reason="ASGI_GUARD_WYCHEPROOF names no checkout")


def key_of(jwk: Mapping[str, Any]) -> VerificationKey | None:
    """Read a vector's key as its owner would; None if we would not take it at all."""
    algorithm = jwk.get("alg") or {"P-256": "ES256", "P-384": "ES384"}.get(
        str(jwk.get("crv")), "RS256"
    )
    try:
        if jwk["kty"] == "oct":
            secret = base64.urlsafe_b64decode(jwk["k"] + "==")
            return VerificationKey(secret, algorithm=algorithm)
        return verification_key_of(jwk, algorithm=algorithm)
    except ConfigError:
        return None


def verdict(token: str, key: VerificationKey | None) -> str:
    """Say what became of *token*."""
    try:
        jws = parse_compact_jws(token.encode())
        check_header(jws.header)
    except AuthenticationError as refusal:
        return refusal.reason
    if key is None:
        return "key_refused"
    if not key.takes(jws.header.get("alg")):
        return "algorithm_not_accepted"
    return "accepted" if key.verify(jws.signing_input, jws.signature) else "signature_invalid"


def vectors(name: str) -> Any:
    """Return the vectors of one file."""
    path = Path(CHECKOUT) / "testvectors_v1" / f"{name}_test.json"
    return json.loads(path.read_text(encoding="utf-8"))


@needs_vectors
def test_every_vector_has_the_outcome_that_it_should() -> None:
    """The collected mistakes of other people's verifiers."""
    document = vectors("json_web_signature")
    wrong, counted = {}, 0
    for group in document["testGroups"]:
        key = key_of(group.get("public") or group["private"])
        for test in group["tests"]:
            counted += 1
            found = verdict(test["jws"], key)
            if (found == "accepted") != (test["result"] == "valid"):
                wrong[test["tcId"]] = (test["comment"], test["result"], found)

    assert counted == document["numberOfTests"]
    assert {case: told for case, told in wrong.items() if case not in DEVIATIONS} == {}
    assert set(wrong) == set(DEVIATIONS), "a deviation that is none any more"


def key_set_verdict(token: str, document: Mapping[str, Any]) -> str:
    """Say what becomes of *token* with the keys of *document*, a JWK Set."""
    algorithms = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA")
    try:
        if all(each.get("kty") == "oct" for each in document["keys"]):
            keys = KeySet(
                [
                    VerificationKey(
                        base64.urlsafe_b64decode(each["k"] + "=="),
                        algorithm=each.get("alg"),
                        kid=each.get("kid"),
                    )
                    for each in document["keys"]
                ]
            )
        else:
            found = parse_jwks(json.dumps(document).encode(), algorithms=algorithms)
            keys = KeySet(found.values())
    except ConfigError:
        return "key_refused"
    try:
        jws = parse_compact_jws(token.encode())
        key = keys.find(check_header(jws.header), str(jws.header.get("alg")))
    except AuthenticationError as refusal:
        return refusal.reason
    return verdict(token, key)


@needs_vectors
def test_every_key_set_has_the_outcome_that_it_should() -> None:
    """Keys that share a name, are too short, are for something else, or were tampered with."""
    document = vectors("json_web_key")
    wrong, counted = {}, 0
    for group in document["testGroups"]:
        for test in group["tests"]:
            counted += 1
            found = key_set_verdict(test["jws"], group.get("public") or group["private"])
            if (found == "accepted") != (test["result"] == "valid"):
                wrong[test["tcId"]] = (test["comment"], test["result"], found)

    assert counted == document["numberOfTests"]
    assert wrong == {}
