"""What a broken or hostile provider can answer, and the one reason each of it is refused with.

Each entry changes one thing about a provider that is honest otherwise.
"""

from __future__ import annotations

import gzip
from typing import Any

from tests.support.oidc_hostile import (
    BOMB,
    DISCOVERY,
    HTML,
    JWKS,
    ME,
    TOKEN,
    Misbehaviour,
    by_another_key,
    by_public_key_as_secret,
    changed,
    id_token,
    never,
    resigned,
    says,
    with_its_own_key,
)
from tests.support.oidc_provider import json_answer, raw_answer

__all__ = ["AT_BEGIN", "AT_CALLBACK", "AT_KEYS", "AT_USERINFO"]

_ELSEWHERE = {"status": "302 Found", "location": "http://127.0.0.1:1/"}
_PAGE = raw_answer(HTML, kind="text/html")
_BRIEF = b'{"access_token": "a"}'
_DISCOVERY: dict[str, tuple[str, bytes | None]] = {
    "html": ("media_type", _PAGE),
    "html-called-json": ("not_json", raw_answer(HTML)),
    "a-list": ("not_json", json_answer([])),
    "nothing": ("not_json", raw_answer(b"")),
    "a-bomb": ("not_json", raw_answer(BOMB)),
    "an-issuer-twice": ("not_json", raw_answer(b'{"issuer":"a","issuer":"b"}')),
    "latin-1": ("not_json", raw_answer(b'{"issuer":"\xe9"}')),
    "a-redirect": ("redirected", raw_answer(b"{}", **_ELSEWHERE)),
    "not-found": ("status", json_answer({}, status="404 Not Found")),
    "a-fault": ("failed", json_answer({}, status="500 Oops")),
    "slow-down": ("failed", json_answer({}, status="429 Slow")),
    "too-much": ("fetch_too_large", raw_answer(b" " * 70_000)),
    "compressed": (
        "fetch_encoded",
        raw_answer(gzip.compress(b"0" * 10**6), content_encoding="gzip"),
    ),
    "a-reset": ("fetch_protocol_error", None),
    "no-http": ("fetch_protocol_error", b"SSH-2.0-OpenSSH\r\n\r\n"),
    "less-than-promised": ("fetch_protocol_error", raw_answer(b"{}", content_length="500")),
}
_TOKEN: dict[str, tuple[str, bytes | None]] = {
    "html": ("media_type", _PAGE),
    "refusal-in-html": ("media_type", raw_answer(HTML, kind="text/html", status="400 Bad")),
    "a-redirect": ("redirected", raw_answer(b"", **_ELSEWHERE)),
    "code-refused": ("code_refused", json_answer({"error": "invalid_grant"}, status="400 Bad")),
    "refused-with-a-list": ("code_refused", json_answer({"error": []}, status="400 Bad")),
    "client-refused": (
        "client_refused",
        json_answer({"error": "invalid_client"}, status="401 No"),
    ),
    "a-fault": ("failed", json_answer({}, status="502 Oops")),
    "a-teapot": ("status", json_answer({}, status="418 Teapot")),
    "no-content": ("status", raw_answer(b"", status="204 Nothing")),
    "infinite": ("not_json", raw_answer(b'{"expires_in": 1e999}')),
    "not-a-number": ("not_json", raw_answer(b'{"expires_in": NaN}')),
    "a-bomb": ("not_json", raw_answer(BOMB)),
    "cut-off": ("not_json", raw_answer(_BRIEF, content_length="10")),
    "too-much": ("fetch_too_large", raw_answer(b" " * 70_000)),
    "a-reset": ("fetch_protocol_error", None),
}
_KEYS: dict[str, bytes | None] = {
    "html": raw_answer(HTML),
    "a-redirect": raw_answer(b"", **_ELSEWHERE),
    "none": json_answer({"keys": []}),
    "symmetric": json_answer({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}),
    "a-reset": None,
}
_USERINFO: dict[str, tuple[str, bytes]] = {
    "of-another": ("sub_mismatch", json_answer({"sub": "mallory"})),
    "of-nobody": ("sub_mismatch", json_answer({"name": "Alice"})),
    "of-a-list": ("sub_mismatch", json_answer({"sub": ["alice"]})),
    "html": ("media_type", _PAGE),
    "a-token": ("media_type", raw_answer(b"a.b.c", kind="application/jwt")),
    "refused": ("status", json_answer({}, status="401 No")),
}
_METADATA: dict[str, tuple[str, dict[str, Any]]] = {
    "another-issuer": ("issuer_mismatch", {"issuer": "https://evil.example"}),
    "no-issuer": ("issuer_mismatch", {"issuer": None}),
    "issuer-as-list": ("issuer_mismatch", {"issuer": ["https://evil.example"]}),
    "plain-http-token-endpoint": (
        "token_endpoint_invalid",
        {"token_endpoint": "http://id.example/token"},
    ),
    "token-endpoint-with-user": (
        "token_endpoint_invalid",
        {"token_endpoint": "https://id.example@evil.example/token"},
    ),
    "token-endpoint-number": ("token_endpoint_invalid", {"token_endpoint": 1}),
    "script-as-authorization-endpoint": (
        "authorization_endpoint_invalid",
        {"authorization_endpoint": "javascript:alert(1)"},
    ),
    "authorization-endpoint-splits-the-header": (
        "authorization_endpoint_invalid",
        {"authorization_endpoint": "https://id.example/\r\nset-cookie: a=b"},
    ),
    "keys-from-a-file": ("jwks_uri_invalid", {"jwks_uri": "file:///etc/keys"}),
    "no-keys": ("jwks_uri_missing", {"jwks_uri": None}),
    "bad-port": ("jwks_uri_invalid", {"jwks_uri": "https://id.example:99999/"}),
    "plain-challenges-only": (
        "pkce_unsupported",
        {"code_challenge_methods_supported": ["plain"]},
    ),
    "implicit-only": (
        "code_flow_unsupported",
        {"response_types_supported": ["id_token"]},
    ),
    "words-for-a-list": ("malformed", {"response_types_supported": "code"}),
}
_CLAIMS: dict[str, tuple[str, dict[str, Any]]] = {
    "another-issuer": ("issuer_unknown", {"iss": "https://evil.example"}),
    "another-audience": ("audience_foreign", {"aud": "another-client"}),
    "an-audience-beside": (
        "audience_untrusted",
        {"aud": ["notes-web", "another"], "azp": "notes-web"},
    ),
    "an-audience-twice-without-azp": ("azp_missing", {"aud": ["notes-web", "notes-web"]}),
    "another-party": ("azp_foreign", {"azp": "another-client"}),
    "no-party": ("azp_foreign", {"azp": ""}),
    "expired": ("expired", {"exp": 1_600_000_000}),
    "endless": ("exp_missing", {"exp": None}),
    "ends-as-text": ("exp_malformed", {"exp": "2999"}),
    "from-the-future": ("not_yet_valid", {"iat": 1_700_001_000, "exp": 1_700_002_000}),
    "undated": ("iat_missing", {"iat": None}),
    "for-a-year": ("lifetime_too_long", {"exp": 1_731_000_000}),
    "without-a-nonce": ("nonce_missing", {"nonce": None}),
    "another-nonce": ("nonce_mismatch", {"nonce": "another"}),
    "a-nonce-of-surrogates": ("not_json", {"nonce": "\ud800"}),
    "a-nonce-in-a-list": ("nonce_missing", {"nonce": ["n"]}),
    "without-a-subject": ("sub_missing", {"sub": None}),
    "a-subject-in-a-list": ("sub_malformed", {"sub": ["alice"]}),
    "a-numbered-subject": ("sub_malformed", {"sub": 7}),
    "an-empty-subject": ("sub_malformed", {"sub": ""}),
    "a-subject-of-two-lines": ("sub_malformed", {"sub": "alice\nadmin"}),
    "a-subject-that-looks-alike": ("sub_malformed", {"sub": "\u0430lice"}),
    "a-numbered-session": ("sid_malformed", {"sid": 7}),
    "another-access-token": ("at_hash_mismatch", {"at_hash": "x" * 22}),
    "an-access-token-hash-of-null-bytes": ("at_hash_mismatch", {"at_hash": "\x00"}),
    "an-access-token-hash-that-is-none": ("at_hash_mismatch", {"at_hash": 0}),
    "another-code": ("c_hash_mismatch", {"c_hash": "x" * 22}),
    "a-logout-event": ("type_not_accepted", {"events": {}}),
}
_TOKENS: dict[str, tuple[str, dict[str, Any]]] = {
    "for-a-key": ("token_type_not_bearer", {"token_type": "DPoP"}),
    "of-no-type": ("token_type_not_bearer", {"token_type": None}),
    "without-id-token": ("token_id_token_missing", {"id_token": None}),
    "without-access-token": ("token_access_token_missing", {"access_token": None}),
    "a-number-for-a-token": ("token_malformed", {"access_token": 1}),
    "a-token-of-two-lines": ("token_malformed", {"access_token": "a\r\nx-admin: 1"}),
    "a-long-token": ("token_malformed", {"id_token": "x" * 20_000}),
    "endless-in-words": ("token_expires_in_malformed", {"expires_in": "never"}),
    "scopes-in-a-list": ("token_scope_malformed", {"scope": ["openid"]}),
    "an-encrypted-id-token": ("id_token_malformed", {"id_token": "a.b.c.d.e"}),
    "words-for-an-id-token": ("id_token_malformed", {"id_token": "no token"}),
}
_SIGNED = {
    "unsigned": (
        "algorithm_not_accepted",
        id_token(lambda _, token: resigned(token, {"alg": "none"})),
    ),
    "by-a-public-secret": ("algorithm_not_accepted", id_token(by_public_key_as_secret)),
    "by-another-key": ("signature_invalid", id_token(by_another_key)),
    "with-its-own-key": ("key_in_header", id_token(with_its_own_key)),
    "without-signature": (
        "signature_invalid",
        id_token(lambda p, token: resigned(token, {"alg": "ES256", "kid": p.key.kid})),
    ),
    "of-an-unknown-key": ("key_unknown", changed("header", kid="another")),
    "of-a-numbered-key": ("kid_malformed", changed("header", kid=1)),
    "with-an-extension": ("crit_not_understood", changed("header", crit=["exp"])),
    "that-is-an-access-token": ("type_not_accepted", changed("header", typ="at+jwt")),
    "that-is-a-logout-token": ("type_not_accepted", changed("header", typ="logout+jwt")),
}
_ASKED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "without-acr": ("acr_not_accepted", {}, {"acr_values": ("phr",)}),
    "without-auth-time": ("auth_time_missing", {}, {"max_age": 60}),
    "of-yesterday": ("auth_time_too_old", {"auth_time": 1_699_900_000}, {"max_age": 60}),
    "of-no-day": ("auth_time_malformed", {"auth_time": True}, {"max_age": 60}),
}

AT_BEGIN = [
    *(
        Misbehaviour(f"discovery-{name}", f"discovery_{reason}", says(DISCOVERY, answer))
        for name, (reason, answer) in _DISCOVERY.items()
    ),
    Misbehaviour("discovery-silence", "discovery_timeout", never(DISCOVERY)),
    *(
        Misbehaviour(f"metadata-{name}", f"discovery_{reason}", changed("metadata", **changes))
        for name, (reason, changes) in _METADATA.items()
    ),
]
"""Told when a browser is to be sent away."""

AT_CALLBACK = [
    *(
        Misbehaviour(f"token-{name}", f"token_{reason}", says(TOKEN, answer))
        for name, (reason, answer) in _TOKEN.items()
    ),
    Misbehaviour("token-silence", "token_timeout", never(TOKEN)),
    *(
        Misbehaviour(f"tokens-{name}", reason, changed("tokens", **changes))
        for name, (reason, changes) in _TOKENS.items()
    ),
    *(
        Misbehaviour(f"id-token-{name}", f"id_token_{reason}", changed("claims", **changes))
        for name, (reason, changes) in _CLAIMS.items()
    ),
    *(
        Misbehaviour(f"id-token-{name}", f"id_token_{reason}", change)
        for name, (reason, change) in _SIGNED.items()
    ),
    *(
        Misbehaviour(f"id-token-{name}", f"id_token_{reason}", changed("claims", **changes), setup)
        for name, (reason, changes, setup) in _ASKED.items()
    ),
]
"""Told when a code is exchanged."""

AT_KEYS = [
    *(
        Misbehaviour(f"keys-{name}", "jwks_unreachable", says(JWKS, answer))
        for name, answer in _KEYS.items()
    ),
    Misbehaviour("keys-silence", "jwks_unreachable", never(JWKS)),
]
"""Told when an ID token is checked; the keys leave an event of their own."""

AT_USERINFO = [
    *(
        Misbehaviour(f"userinfo-{name}", f"userinfo_{reason}", says(ME, answer))
        for name, (reason, answer) in _USERINFO.items()
    ),
    Misbehaviour(
        "userinfo-nowhere",
        "userinfo_endpoint_missing",
        changed("metadata", userinfo_endpoint=None),
    ),
]
"""Told when further claims are fetched."""
