"""RFC 7515, JSON Web Signature: the examples of its appendix A, and clauses 4 and 5."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asgi_guard.auth.jose import VerificationKey
from asgi_guard.auth.jose.base64url import b64url_decode, b64url_encode
from asgi_guard.auth.jose.compact_jws import check_header, parse_compact_jws
from asgi_guard.auth.jose.jwk import verification_key_of
from asgi_guard.errors import AuthenticationError
from tests.support.jose_tokens import made, reason, verifier

PAYLOAD = (
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
)
A1 = (
    f"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{PAYLOAD}."
    "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)
A1_SECRET = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
A3 = (
    f"eyJhbGciOiJFUzI1NiJ9.{PAYLOAD}."
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
A3_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}


def holds(token: str, key: VerificationKey) -> bool:
    """Verify one JWS as such, without claims."""
    jws = parse_compact_jws(token.encode())
    check_header(jws.header)
    return key.takes(jws.header["alg"]) and key.verify(jws.signing_input, jws.signature)


def test_appendix_a_1_hmac_sha_256() -> None:
    """And line breaks inside the header's JSON are part of what is signed."""
    key = VerificationKey(b64url_decode(A1_SECRET.encode()), algorithm="HS256")

    assert holds(A1, key)
    assert not holds(A1[:-3] + "jXs", key)


def test_appendix_a_3_ecdsa_p_256() -> None:
    """R and S side by side, not DER."""
    assert holds(A3, verification_key_of(A3_KEY, algorithm="ES256"))
    assert not holds(A3.replace("DtEh", "DtEi"), verification_key_of(A3_KEY, algorithm="ES256"))


def test_appendix_a_5_an_unsecured_jws_is_no_signed_one() -> None:
    """``alg`` none, with an empty signature."""
    token = f"eyJhbGciOiJub25lIn0.{PAYLOAD}."

    assert not holds(token, verification_key_of(A3_KEY, algorithm="ES256"))


def test_appendix_c_base64url_without_padding() -> None:
    """Its one example, and back."""
    assert b64url_encode(bytes([3, 236, 255, 224, 193])) == b"A-z_4ME"
    assert b64url_decode(b"A-z_4ME") == bytes([3, 236, 255, 224, 193])


@pytest.mark.parametrize("text", [b"A", b"A=", b"AA==", b"AB", b"A+A", b"A/A", b"A A", b"\xff\xff"])
def test_section_2_base64url_has_one_spelling(text: bytes) -> None:
    """No padding, no other alphabet, no white space, no unused bits."""
    assert b64url_decode(text) is None


@pytest.mark.parametrize("crit", [["exp"], ["b64"], [], "exp", None, ["http://x.example/y"]])
async def test_section_4_1_11_an_extension_that_is_not_understood_is_refused(crit: Any) -> None:
    """We understand none; that the parameter is there suffices."""
    assert await reason(made(header={"crit": crit, "exp": 1})) == "crit_not_understood"


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c"])
async def test_sections_4_1_2_to_4_1_6_keys_in_the_header_are_refused(name: str) -> None:
    """Even an empty one: nobody has a use for it here."""
    assert await reason(made(header={name: {}})) == "key_in_header"


async def test_section_4_1_9_typ_may_be_a_whole_media_type_in_any_case() -> None:
    """``application/`` may be left out where no other slash is."""
    for typ in ("at+jwt", "AT+JWT", "application/at+jwt", "Application/At+JWT"):
        assert (await verifier().verify(made(header={"typ": typ}))).principal is not None


async def test_section_4_2_and_4_3_other_parameters_are_ignored() -> None:
    """Those that say nothing about keys or extensions."""
    token = made(header={"cty": "JWT", "x5t#S256": "A" * 43, "https://x.example": 1})

    assert (await verifier().verify(token)).principal is not None


@pytest.mark.parametrize("name", ["alg", "typ", "kid"])
async def test_section_4_a_parameter_named_twice_is_refused(name: str) -> None:
    """Names "MUST be unique"; the lenient alternative takes the last, and gateways the first."""
    header = json.dumps({"alg": "ES256", "typ": "at+jwt"})[:-1] + f', "{name}":"none"' * 2 + "}"

    assert await reason(made(header=header.encode())) == "token_not_json"


def test_section_7_2_the_json_serialisation_is_not_read() -> None:
    """Several signatures with several keys are another protocol."""
    with pytest.raises(AuthenticationError):
        parse_compact_jws(b'{"payload":"e30","signatures":[]}')
