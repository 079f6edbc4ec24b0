"""Good inputs for each parser, made by the code that writes them: where a fuzzer begins."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

from asgi_guard.auth.jose import SigningKey, escrow
from asgi_guard.auth.jose.key_file import RingCodec
from asgi_guard.auth.jose.key_ring import KeyRing
from asgi_guard.auth.passwords.stored import Argon2Hash
from asgi_guard.auth.sessions.file_envelope import KEY_BYTES, KEY_ID_BYTES, Header, sealed
from asgi_guard.auth.sessions.identifiers import new_sid
from asgi_guard.vault.envelope import seal
from tests.fuzz.login_targets import LOGIN_SEEDS
from tests.fuzz.targets import DATA_KEY, KEYS, NOW, PASSPHRASE, SLOT, TARGETS

__all__ = ["seeds"]

KEY: Final = SigningKey.generate("ES256")


def seeds(name: str) -> list[bytes]:
    """Return the corpus of the target called *name*; of ``all``, everything with its first byte."""
    if name == "all":
        return [
            bytes([number]) + seed
            for number, each in enumerate(sorted(TARGETS))
            for seed in seeds(each)
        ]
    return [each for each in _SEEDS[name]() if each]


def _text(value: object) -> bytes:
    return json.dumps(value).encode()


def _claims(**more: Any) -> dict[str, Any]:
    known = {"iss": "https://id.example", "aud": "notes", "sub": "alice", "jti": "a", "fam": "f"}
    return {**known, "client_id": "web", "iat": int(NOW), "exp": int(NOW) + 60, **more}


def _token(header: Mapping[str, Any], claims: Mapping[str, Any]) -> bytes:
    from asgi_guard.auth.jose.base64url import b64url_encode  # noqa: PLC0415 - here alone

    signing_input = b64url_encode(_text(header)) + b"." + b64url_encode(_text(claims))
    return signing_input + b"." + b64url_encode(KEY.sign(signing_input))


def _json() -> list[bytes]:
    return [b'{"a":[1,-2.5e3,true,null,"\\u00e9\\ud83d\\ude00"],"b":{"c":{}}}', b"[]", b'{"a":NaN}']


def _jws() -> list[bytes]:
    header = {"alg": "ES256", "kid": KEY.kid, "typ": "at+jwt"}
    return [_token(header, _claims()), _token({**header, "crit": ["b64"], "b64": False}, {})]


def _all_claims() -> list[bytes]:
    events: dict[str, Any] = {"http://schemas.openid.net/event/backchannel-logout": {}}
    return [
        _text(_claims()),
        _text(_claims(aud=["notes", "x"], nbf=1)),
        _text(_claims(events=events)),
    ]


def _jwk() -> list[bytes]:
    ed, rsa = SigningKey.generate("EdDSA"), SigningKey.generate("RS256", rsa_bits=2048)
    return [_text(each.jwk) for each in (KEY, ed, rsa)]


def _jwks() -> list[bytes]:
    keys = [json.loads(each) for each in _jwk()]
    return [_text({"keys": keys}), _text({"keys": [{**keys[0], "d": "x"}]}), _text({"keys": []})]


def _escrow() -> list[bytes]:
    escrow._LOG_N = 1  # type: ignore[misc]  # as in targets.py
    return [escrow.seal(b"content", PASSPHRASE)]


def _key_file() -> list[bytes]:
    ring = KeyRing().with_key(KEY, now=NOW, signs_from=NOW)
    empty = KeyRing(revoked={"A" * 43: 1.0})
    return [RingCodec().encode(ring), RingCodec().encode(empty)]


def _api_key() -> list[bytes]:
    key = KEYS.new_key().reveal()
    return [key.encode(), f"leaked: {key} and {key[:-1]}x".encode()]


def _stored_hash() -> list[bytes]:
    made = Argon2Hash(
        memory_cost=19456, time_cost=2, parallelism=1, salt=b"s" * 16, digest=b"d" * 32
    )
    return [made.encode().encode(), b"$2b$12$" + b"a" * 53, b"$2y$04$" + b"./" * 26 + b"A"]


def _cookie() -> list[bytes]:
    sid = new_sid().reveal()
    return [f"__Host-sid={sid}".encode(), f"a=b; __Host-sid={sid}; __Host-sid=x".encode()]


def _session_record() -> list[bytes]:
    return [b'{"v":1,"next":"' + sha256(b"x").hexdigest().encode() + b'"}', b'{"v":1}']


def _dpop() -> list[bytes]:
    jwk = {name: value for name, value in KEY.jwk.items() if name in {"kty", "crv", "x", "y"}}
    header = {"alg": "ES256", "typ": "dpop+jwt", "jwk": jwk}
    claims = {"jti": "a" * 20, "htm": "GET", "htu": "https://api.example/notes", "iat": int(NOW)}
    return [_token(header, claims), _token(header, {**claims, "ath": "x", "nonce": "y"})]


def _oidc() -> list[bytes]:
    return [b"code=abc&state=def&iss=https%3A%2F%2Fid.example", b"error=access_denied&state=x"]


def _session_file() -> list[bytes]:
    header = Header(bytes(KEY_ID_BYTES), 1, NOW)
    return [sealed(bytearray(b"x" * 40), key=bytearray(KEY_BYTES), name="default", header=header)]


_SEEDS: Final[Mapping[str, Callable[[], list[bytes]]]] = {
    **LOGIN_SEEDS,
    "address": lambda: [b"::ffff:127.0.0.1", b"64:ff9b::7f00:1", b"10.0.0.1", b"fe80::1%eth0"],
    "api_key": _api_key,
    "claims": _all_claims,
    "cookie": _cookie,
    "dpop": _dpop,
    "escrow": _escrow,
    "forwarded": lambda: [b'for="[2001:db8::1]:47";proto=https;host=a.example, for=192.0.2.1'],
    "jws": _jws,
    "jwk": _jwk,
    "jwks": _jwks,
    "key_file": _key_file,
    "local_path": lambda: [b"/notes?next=%2F%2Fevil", b"//evil.example", b"/a/%2e%2E/b"],
    "oidc_callback": _oidc,
    "path": lambda: [b"/notes/1", b"/a//b/../c%2fd;x=y", b"/%c3%a9/"],
    "session_file": _session_file,
    "session_record": _session_record,
    "stored_hash": _stored_hash,
    "strict_json": _json,
    "uri": lambda: [b"HTTPS://Api.Example:443/a/../%7Eb?x#y", b"https://[2001:DB8::1]:8443/|"],
    "vault_envelope": lambda: [seal(b"secret", key=DATA_KEY, slot=SLOT, version=1)],
}
