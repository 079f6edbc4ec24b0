"""Published advisories against JOSE libraries, one test each: none of them works here."""

from __future__ import annotations

import base64
import hmac
import json
import zlib
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from asgi_guard.auth.jose import KeySet, PinnedKey, SigningKey, VerificationKey
from asgi_guard.errors import ConfigError
from tests.support.jose_tokens import NOW, access_claims, made, reason, signing_key, verifier
from tests.support.tenancy_tokens import b64

GOOD = made()
HEAD, BODY, TAIL = GOOD.split(b".")


def forged(header: dict[str, Any], secret: bytes) -> bytes:
    """Sign with HMAC, as an attacker with only public material can."""
    signing_input = b64({"typ": "at+jwt", **header}) + b"." + b64(access_claims(sub="admin"))
    return signing_input + b"." + b64(hmac.digest(secret, signing_input, sha256))


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", " none", "none\x00"])
@pytest.mark.parametrize("tail", [b"", TAIL, b"AA"], ids=["none", "real", "other"])
async def test_cve_2022_23540_alg_none_in_every_case(name: str, tail: bytes) -> None:
    """Jsonwebtoken and a dozen others; CVE-2020-28042 and CVE-2022-23540 are its kin."""
    token = (
        b64({"alg": name, "typ": "at+jwt"}) + b"." + b64(access_claims(sub="admin")) + b"." + tail
    )

    assert await reason(token) == "algorithm_not_accepted"


@pytest.mark.parametrize(
    ("encoding", "form"),
    [
        (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        (Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        (Encoding.OpenSSH, PublicFormat.OpenSSH),
    ],
)
@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_cve_2022_29217_and_2024_33663_a_public_key_as_a_secret(
    algorithm: str, encoding: Encoding, form: PublicFormat
) -> None:
    """PyJWT and python-jose took OpenSSH and DER public keys for HMAC secrets."""
    key = signing_key(algorithm)
    public = key.public.public_key.public_bytes(encoding, form)

    for source in (KeySet([key.public]), PinnedKey(key.public)):
        for secret in (public, public.strip(), json.dumps(key.jwk).encode()):
            token = forged({"alg": "HS256", "kid": key.kid}, secret)
            assert await reason(token, verifier(source=source)) == "algorithm_not_accepted"
    if encoding is not Encoding.DER:
        with pytest.raises(ConfigError, match="asymmetric"):
            VerificationKey(public, algorithm="HS256")


async def test_cve_2018_0114_a_key_in_the_header() -> None:
    """node-jose verified with the ``jwk`` that the token brought."""
    attacker = SigningKey.generate("ES256")
    for header in ({"jwk": attacker.jwk}, {"jku": "https://evil.example"}, {"x5c": ["MIIB"]}):
        token = made(access_claims(sub="admin"), {**header, "kid": "x"}, key=attacker)
        assert await reason(token) == "key_in_header"


async def test_cve_2022_21449_psychic_signatures() -> None:
    """Java's ECDSA took r = s = 0."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    for number in (0, order, order - 1, 1):
        signature = number.to_bytes(32) * 2
        assert await reason(HEAD + b"." + BODY + b"." + b64(signature)) == "signature_invalid"


async def test_cve_2024_33664_a_compressed_bomb_is_not_inflated() -> None:
    """JWE with zip DEF: ten kilobytes that become gigabytes. Five parts are never read."""
    bomb = b64(zlib.compress(bytes(1 << 22)))[:12_000]
    header = b64({"alg": "dir", "enc": "A128GCM", "zip": "DEF"})

    assert await reason(b".".join([header, b"", b64(b"iv"), bomb, b"AA"])) == "token_malformed"
    assert await reason(made(header={"zip": "DEF", "typ": "x"})) == "type_not_accepted"


async def test_cve_2022_36083_many_iterations_are_not_counted() -> None:
    """PBES2 with p2c of two billion burns a core."""
    header = {"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 2**31 - 1, "p2s": "AA"}

    assert await reason(b".".join([b64(header), b"AA", b"AA", b"AA", b"AA"])) == "token_malformed"
    assert await reason(made(header=header)) == "algorithm_not_accepted"


@pytest.mark.parametrize("crit", [["bork"], ["exp"], ["alg"], [], {}, "b64", 0, False])
async def test_cve_2025_59420_crit_bypass(crit: Any) -> None:
    """Authlib verified tokens whose critical extensions it did not know."""
    assert await reason(made(header={"crit": crit, "bork": 1})) == "crit_not_understood"


async def test_rfc_7797_an_unencoded_payload_is_not_taken_for_an_encoded_one() -> None:
    """b64 false, with and without being named critical."""
    assert await reason(made(header={"b64": False})) == "crit_not_understood"


async def test_cve_2024_53861_an_issuer_is_compared_whole() -> None:
    """PyJWT 2.10.0 took a substring of the issuer."""
    for issuer in ("https://id.example"[:-1], "https", "", "https://id.example.evil"):
        assert await reason(made(access_claims(iss=issuer))) == "issuer_unknown"


@pytest.mark.parametrize("kid", ["../../../dev/null", "' OR 1=1 --", "http://evil.example", "%00"])
async def test_kid_injection_finds_nothing(kid: str) -> None:
    """A kid is looked up among known names; it is no path, no SQL and no address."""
    assert await reason(made(header={"kid": kid})) == "key_unknown"
    assert await reason(forged({"alg": "HS256", "kid": kid}, b"")) == "algorithm_not_accepted"


async def test_a_key_does_not_verify_another_algorithm_of_the_same_family() -> None:
    """RS256 as RS512 or PS256, ES256 as ES384."""
    rsa, ec = signing_key("RS256"), signing_key("ES256")
    wide = {"algorithms": ("RS256", "RS512", "PS256", "ES256", "ES384")}
    for key, name in [(rsa, "RS512"), (rsa, "PS256"), (rsa, "ES256"), (ec, "ES384"), (ec, "RS256")]:
        token = made(header={"alg": name}, key=key)
        assert await reason(token, verifier(rsa, ec, settings=wide)) == "algorithm_not_accepted"


async def test_one_token_has_one_spelling() -> None:
    """A revocation list or cache by hash is passed by every second spelling."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(TAIL[-1:])
    for spelling in (
        GOOD + b"=",
        GOOD + b"\n",
        b" " + GOOD,
        GOOD + b".",
        GOOD[:-1] + alphabet[last ^ 1 : (last ^ 1) + 1],
        base64.b64encode(base64.urlsafe_b64decode(HEAD + b"==")) + b"." + BODY + b"." + TAIL + b"=",
    ):
        assert await reason(spelling) == "token_malformed"


async def test_numbers_and_names_that_parsers_disagree_about() -> None:
    """First or last of two; infinity; digits without end; text for a time."""
    claims = json.dumps(access_claims(exp=None)).encode()[:-1]
    for extra in (b"1e999", b"NaN", b"-Infinity", b"9" * 5000, b"01", b"+1", b"0x1", b"1_0"):
        assert await reason(made(claims + b',"exp":' + extra + b"}")) == "token_not_json"
    assert await reason(made(claims + b',"exp":"%d"}' % (NOW + 60))) == "exp_malformed"
    for twice in (b',"exp":1,"exp":2}', b',"a":{"b":1,"b":2}}', b',"sub":"admin"}'):
        assert await reason(made(claims + twice)) == "token_not_json"


@pytest.mark.parametrize("size", [16 * 1024 + 1, 1 << 20])
async def test_oversized_tokens_are_refused_before_they_are_read(size: int) -> None:
    """A megabyte of dots is a megabyte of splitting (CVE-2025-30204 in golang-jwt)."""
    assert await reason(b"." * size) == "token_too_long"
    assert await reason(b"." * 16_000) == "token_malformed"


async def test_control_the_good_token_is_good() -> None:
    """Without this, a verifier that refuses everything would pass every test above."""
    assert (await verifier().verify(GOOD)).principal is not None
