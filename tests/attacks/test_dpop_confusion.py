"""Confusions: of hosts, methods, keys, algorithms and texts, each as an attacker would send it."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from asgi_guard._internal.proxies import TrustedProxies
from asgi_guard.auth import AuthenticationMiddleware, BearerAuthenticator
from asgi_guard.auth.dpop import DPoPValidator
from asgi_guard.auth.dpop import target as target_module
from asgi_guard.auth.dpop.checks import Examination
from asgi_guard.auth.dpop.proof import proof_key
from asgi_guard.auth.jose.jwk import public_jwk
from asgi_guard.errors import DPoPProofError
from asgi_guard.observability import subscribe
from asgi_guard.protocols import Authenticator, Scope
from tests.support.dpop_world import (
    BASE,
    NOW,
    Reached,
    authenticator,
    bound_token,
    client_key,
    good_claims,
    proof,
    request,
    validator,
)
from tests.support.exchange import Events, ask
from tests.support.jose_tokens import access_claims, made, signing_key, verifier
from tests.support.tenancy_tokens import b64

TOKEN = bound_token()
KEY = client_key()
JWK = public_jwk(KEY.public.public_key)
PROXIES = TrustedProxies(["10.0.0.0/8"], trust_host=True)
STOLEN = proof(token=TOKEN, htu="https://evil.example/notes")


@pytest.fixture
def events() -> Iterator[Events]:
    sink = Events()
    leave = subscribe(sink)
    yield sink
    leave()


async def status(scope: dict[str, Any], judge: DPoPValidator | None = None) -> int:
    """Send a request; one that gets in must not."""
    takes: list[Authenticator] = [authenticator(judge), BearerAuthenticator(verifier())]
    return (await ask(AuthenticationMiddleware(Reached(), authenticators=takes), scope)).status


EVIL: list[dict[str, Any]] = [
    {"host": "evil.example"},
    {"host": "evil.example", "more": [("x-forwarded-host", "evil.example")]},
    {"more": [("x-forwarded-host", "evil.example"), ("x-forwarded-proto", "https")]},
    {"more": [("forwarded", "host=evil.example;proto=https")]},
    {"more": [("x-original-url", "https://evil.example/notes")]},
    {"more": [("host", "evil.example")]},
    {"more": [("x-forwarded-host", "evil.example, api.example")]},
    {"more": [("x-forwarded-prefix", "//evil.example"), ("x-forwarded-port", "443")]},
    {"root_path": "//evil.example"},
]


@pytest.mark.parametrize("sent", range(len(EVIL)))
@pytest.mark.parametrize(
    "client", [("203.0.113.9", 5000), ("10.0.0.1", 5000)], ids=["far", "proxy"]
)
async def test_a_proof_for_another_server_is_not_made_ours_by_a_header(
    sent: int, client: tuple[str, int]
) -> None:
    """A malicious resource server forwards what it was sent, and names itself in every header."""
    changes = dict(EVIL[sent])
    root = changes.pop("root_path", "")
    scope = {**request(STOLEN, token=TOKEN, client=client, **changes), "root_path": root}
    by_https = {**scope, "headers": [*scope["headers"], (b"x-forwarded-proto", b"https")]}
    behind = validator(base=None, trusted_proxies=PROXIES, hosts=["api.example"])

    assert await status(scope) == 401
    assert await status(scope, behind) == 401
    assert await status(by_https, behind) == 401


class Trusting(target_module.RequestTarget):
    """A target as a naive server computes it: from ``Host``."""

    def uri_of(self, scope: Scope) -> str | None:
        """Believe whoever typed the header."""
        return f"https://{dict(scope['headers'])[b'host'].decode()}{scope['path']}"


async def test_control_a_server_that_believes_host_takes_the_stolen_proof(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control: the first of the requests above, on the naive address."""
    monkeypatch.setattr("asgi_guard.auth.dpop.validator.RequestTarget", Trusting)

    assert await status(request(STOLEN, token=TOKEN, host="evil.example"), validator()) == 200


@pytest.mark.parametrize(
    ("made_for", "path", "raw"),
    [
        ("/notes", "/admin", b"/admin"),
        ("/notes", "/notes/", b"/notes/"),
        ("/notes", "/Notes", b"/Notes"),
        ("/notes", "/notes/../admin", b"/notes/../admin"),
        ("/notes", "/notes/..%2fadmin", b"/notes/..%2fadmin"),
        ("/notes/1", "/notes/1", b"/notes%2F1"),
        ("/notes", "/notes;admin", b"/notes;admin"),
        ("/notes", "//notes", b"//notes"),
        ("/notes", "/notes\x00", b"/notes%00"),
        ("/notes", "/notes", b"http://api.example/notes"),
        ("/notes%2Fadmin", "/notes/admin", b"/notes/admin"),
    ],
)
async def test_a_proof_for_one_path_is_not_one_for_another(
    made_for: str, path: str, raw: bytes
) -> None:
    """Whoever can bend the path bends what the proof was made for."""
    text = proof(token=TOKEN, htu=BASE + made_for)
    scope = {**request(text, token=TOKEN), "path": path, "raw_path": raw}

    assert await status(scope) == 401


@pytest.mark.parametrize(
    ("htm", "method"),
    [("GET", "DELETE"), ("get", "GET"), ("GET", "get"), ("GET", "HEAD"), ("POST", "PUT")],
)
async def test_a_proof_for_one_method_is_not_one_for_another(htm: str, method: str) -> None:
    """Also not by ``X-HTTP-Method-Override``, which is nobody's method here."""
    more = [("x-http-method-override", htm), ("x-method-override", htm)]
    scope = request(proof(token=TOKEN, htm=htm), token=TOKEN, method=method, more=more)

    assert await status(scope) == 401


async def test_a_stolen_token_is_of_no_use_with_a_key_of_ones_own() -> None:
    """Key swapping: in the proof, in its header alone, and in a token that names both."""
    thief = client_key(1)
    theirs = public_jwk(thief.public.public_key)

    assert await status(request(proof(token=TOKEN, key=thief), token=TOKEN)) == 401
    assert (
        await status(request(proof(header={"jwk": JWK}, token=TOKEN, key=thief), token=TOKEN))
        == 401
    )
    assert await status(request(proof(header={"jwk": theirs}, token=TOKEN), token=TOKEN)) == 401
    named = {"jwk": theirs, "kid": KEY.kid}
    assert await status(request(proof(header=named, token=TOKEN, key=thief), token=TOKEN)) == 401


async def test_a_stolen_proof_is_of_no_use_with_another_token() -> None:
    """Of the same client, of another user, and one that was changed in one letter."""
    seen = proof(token=TOKEN)
    others = bound_token(sub="admin"), bound_token(client_key(1)), TOKEN + b"A", b"A" + TOKEN

    for other in others:
        assert await status(request(seen, token=other)) == 401


async def test_a_token_cannot_be_downgraded_to_a_bearer_token() -> None:
    """With and without the proof, under any spelling of the scheme."""
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert await status(request(token=TOKEN, scheme=scheme)) == 401
        assert await status(request(proof(token=TOKEN), token=TOKEN, scheme=scheme)) == 401
    assert await status(request(proof(token=made()), token=made())) == 401
    assert await status(request(token=made(), scheme="Bearer")) == 200, "a control"


FORMS = [
    (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    (Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    (Encoding.X962, PublicFormat.UncompressedPoint),
]


@pytest.mark.parametrize("algorithm", ["HS256", "hs256", "none", "None", "NONE", "ES256 ", ""])
async def test_a_public_key_is_no_secret_and_none_is_no_algorithm(algorithm: str) -> None:
    """CVE-2015-9235, CVE-2022-29217, CVE-2024-33663 and their kin, in a proof."""
    public = KEY.public.public_key
    secrets = [public.public_bytes(*form) for form in FORMS] + [json.dumps(JWK).encode(), b""]
    head = b64({"typ": "dpop+jwt", "alg": algorithm, "jwk": JWK})
    body = b64(good_claims(ath=b64(sha256(TOKEN).digest()).decode()))
    text = head + b"." + body

    for secret in secrets:
        mac = hmac.digest(secret, text, sha256)
        for tail in (b64(mac), b""):
            assert await status(request(text + b"." + tail, token=TOKEN)) == 401


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": {**JWK, "d": "A" * 43}},
        {"jwk": {"kty": "oct", "k": b64(b"k" * 32).decode()}, "alg": "HS256"},
        {"jwk": {"kty": "oct", "k": b64(b"k" * 32).decode()}},
        {"jwk": ..., "jku": "https://evil.example/jwks.json"},
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/cert.pem"},
        {"x5c": ["MIIB"]},
        {"jwk": ..., "kid": "../../../../dev/null"},
        {"kid": "x' UNION SELECT 'secret"},
        {"crit": ["b64"], "b64": False},
        {"alg": "ES384"},
        {"alg": ["ES256"]},
        {"typ": "at+jwt"},
    ],
    ids="-".join,
)
async def test_nothing_in_the_header_is_followed(header: dict[str, Any]) -> None:
    """CVE-2018-0114: a key that the sender chose is believed for what it is, and no more."""
    sent = await status(request(proof(header=header, token=TOKEN), token=TOKEN))

    assert sent == (200 if header == {"kid": "x' UNION SELECT 'secret"} else 401)


async def test_an_access_token_is_no_proof_and_a_proof_no_access_token() -> None:
    """RFC 8725 section 3.11: both are JWTs, and one of them is public."""
    text = proof(token=TOKEN)

    assert await status(request(TOKEN, token=TOKEN)) == 401
    assert await status(request(text, token=text)) == 401
    assert await status(request(token=text, scheme="Bearer")) == 401
    signed_by_issuer = made(access_claims(), {"typ": "dpop+jwt", "jwk": signing_key().jwk})
    assert await status(request(signed_by_issuer, token=TOKEN)) == 401


async def test_members_that_are_there_twice_are_refused() -> None:
    """The first ``htm`` for the proxy's parser, the second for ours."""
    claims = json.dumps(good_claims(ath=b64(sha256(TOKEN).digest()).decode()))
    twice = [
        claims[:-1] + ', "htm": "DELETE"}',
        claims[:-1] + ', "\\u0068tm": "GET"}',
        '{"htu": "https://evil.example/notes", ' + claims[1:],
        '{"iat": 0, ' + claims[1:],
    ]

    for text in twice:
        assert await status(request(proof(text.encode()), token=TOKEN)) == 401
    assert await status(request(proof(claims.encode()), token=TOKEN)) == 200, "a control"


async def test_one_proof_has_one_spelling() -> None:
    """Base64 with spare bits, padding or line breaks would be another text with the same jti."""
    head, body, tail = proof(token=TOKEN).split(b".")
    last = tail[-1:]
    spare = tail[:-1] + bytes([last[0] + 1])

    for text in (
        b".".join((head, body, spare)),
        b".".join((head + b"=", body, tail)),
        b".".join((head, body + b"\n", tail)),
        b" " + b".".join((head, body, tail)),
        b".".join((head, body, tail)) + b".",
        b".".join((head, body, tail.replace(b"-", b"+").replace(b"_", b"/") + b"==")),
    ):
        assert await status(request(text, token=TOKEN)) == 401


@pytest.mark.parametrize("skew", [-31, 91, 10**6, -(10**6)])
async def test_a_clock_that_is_set_by_the_sender_gains_nothing(skew: int) -> None:
    """A proof from the future would be good for as long as its sender likes."""
    assert await status(request(proof(token=TOKEN, iat=NOW - skew), token=TOKEN)) == 401


async def test_nothing_of_token_or_proof_is_said_to_anybody(events: Events) -> None:
    """One event for each refusal; in it, and in the answer, no part of either."""
    refused = [
        request(proof(token=TOKEN, **change), token=TOKEN)
        for change in ({"htm": "POST"}, {"jti": "j" * 300}, {"header": {"alg": "none"}}, {"iat": 1})
    ]
    app = AuthenticationMiddleware(Reached(), authenticators=[authenticator()])
    said = ""
    for scope in refused:
        answer = await ask(app, scope)
        said += answer.body.decode() + repr(answer.headers)

    assert len(events.seen) == len(refused)
    said += repr(events.seen)
    for name, value in [pair for scope in refused for pair in scope["headers"]]:
        if name in {b"dpop", b"authorization"}:
            parts = value.removeprefix(b"DPoP ").split(b".")
            assert all(part.decode() not in said for part in parts)


def locals_of(error: BaseException) -> str:
    """Return what an error tracker would send of our frames; the request is in all of them."""
    parts, trace = [repr(error), repr(vars(error))], error.__traceback__
    while trace is not None:
        held = trace.tb_frame.f_locals
        if "/asgi_guard/" in trace.tb_frame.f_code.co_filename:
            parts.append(repr({name: held[name] for name in held if name != "scope"}))
        trace = trace.tb_next
    return "\n".join(parts)


@pytest.mark.parametrize(
    "change",
    [{"htm": "POST"}, {"iat": 1}, {"header": {"alg": "none"}}, {"pad": "x" * 9000}],
    ids=["method", "time", "algorithm", "length"],
)
async def test_no_frame_of_a_refusal_holds_a_token_or_a_proof(change: dict[str, Any]) -> None:
    """Error trackers record the locals of frames, and many people read those."""
    text = proof(token=TOKEN, **change)
    scope = request(text, token=TOKEN)
    pieces = [each.decode()[-24:] for part in (text, TOKEN) for each in part.split(b".")[1:]]

    with pytest.raises(DPoPProofError) as judged:
        validator().inspect(scope, access_token=TOKEN)
    with pytest.raises(DPoPProofError) as authenticated:
        await authenticator().authenticate(scope)

    for caught in (judged.value, authenticated.value):
        found = locals_of(caught)
        assert [piece for piece in pieces if piece in found] == []
        assert caught.__context__ is None


async def test_control_the_search_finds_what_a_frame_holds() -> None:
    """Negative control: the table itself, whose frames have the proof."""
    text = proof(token=TOKEN, htm="POST")
    judge = validator()
    examination = Examination(
        fields=[text],
        policy=judge.policy,
        method="GET",
        uri=f"{BASE}/notes",
        now=NOW,
        read_key=proof_key,
    )

    with pytest.raises(DPoPProofError) as caught:
        examination.run()

    assert text.decode()[-24:] in locals_of(caught.value)
