"""What a provider, an authorization server or a handshake sends: answers that a login reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, Final

from asgi_guard.auth.jose import KeySet, SigningKey
from asgi_guard.auth.jose.base64url import b64url_encode
from asgi_guard.auth.jose.strict_json import strict_object
from asgi_guard.auth.oidc import OIDCProvider, PublicClient, TokenSet
from asgi_guard.auth.oidc.browser import BrowserCookies
from asgi_guard.auth.oidc.id_token import verified_login
from asgi_guard.auth.oidc.logout_token import verified_logout
from asgi_guard.auth.oidc.metadata import read_metadata
from asgi_guard.auth.oidc.token_endpoint import _token_set
from asgi_guard.auth.sessions.offers import take_from_query, take_offered
from asgi_guard.cli.login_device import _checked
from asgi_guard.cli.login_listener import Listener
from asgi_guard.cli.login_server import _tokens, error_of
from asgi_guard.secret import Secret
from tests.support.tenancy_world import MovedClock

__all__ = ["LOGIN_SEEDS", "LOGIN_TARGETS"]

NOW: Final = MovedClock().now()
KEY: Final = SigningKey.generate("ES256")
KEYS: Final = KeySet([KEY.public])
HEADER: Final = b64url_encode(json.dumps({"alg": "ES256", "kid": KEY.kid}).encode())
PROVIDER: Final = OIDCProvider(
    name="p",
    issuer="https://id.example",
    client_id="web",
    client_auth=PublicClient(),
    redirect_uri="https://app.example/auth/callback/p",
    algorithms=("ES256",),
)


def _now(step: Coroutine[Any, Any, Any]) -> Any:
    """Run what waits for nothing."""
    try:
        step.send(None)
    except StopIteration as done:
        return done.value
    finally:
        step.close()
    raise AssertionError("it waits for something")


def _signed(claims: bytes) -> str:
    text = HEADER + b"." + b64url_encode(claims)
    return (text + b"." + b64url_encode(KEY.sign(text))).decode()


def _metadata(data: bytes) -> object:
    found = read_metadata(strict_object(data) or {}, PROVIDER)
    for address in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri):
        assert address.lower().startswith("https://"), address
        assert address.isprintable(), address
    return found


def _id_token(data: bytes) -> object:
    tokens = TokenSet(access_token=Secret("a"), id_token=Secret(_signed(data)))
    login = _now(
        verified_login(
            tokens, code="c", nonce="n", provider=PROVIDER, tenant_id=None, keys=KEYS, now=NOW
        )
    )
    assert login.claims["nonce"] == "n"
    return login


def _logout_token(data: bytes) -> object:
    found = _now(verified_logout(_signed(data), provider=PROVIDER, keys=KEYS, now=NOW))
    assert found.sid or found.subject
    assert float(repr(found.issued_at)) == found.issued_at
    return found


def _token_answer(data: bytes) -> object:
    found = _token_set(strict_object(data) or {}, NOW)
    assert found.access_token.reveal().isprintable()
    return found


def _shell_token_answer(data: bytes) -> object:
    answer = strict_object(data) or {}
    error = error_of(answer)
    assert error.isascii(), error
    assert error.isprintable(), error
    found = _tokens(answer, "openid")
    assert found.access_token.isprintable()
    return found


def _device_answer(data: bytes) -> object:
    answer = strict_object(data) or {}
    found = _checked(answer, allow_http=False)
    assert str(answer["user_code"]).isprintable()
    assert answer["verification_uri"].lower().startswith("https://")
    assert 1 <= found[2] <= 300
    return found


def _offers(data: bytes) -> object:
    offered = [each.strip() for each in data.decode("latin-1").split(",")]
    headers = [(b"sec-websocket-protocol", data), (b"host", b"x")]
    scope = {"subprotocols": offered, "headers": headers, "query_string": data}
    found = take_offered(scope, "bearer")
    if found is not None:
        assert "bearer" not in scope["subprotocols"]
    return take_from_query(scope, "access_token"), scope["query_string"]


def _browser_cookies(data: bytes) -> object:
    cookies = BrowserCookies({"headers": [(b"cookie", data)]})
    return cookies.surplus(), cookies.secret_of("0" * 64)


def _loopback(data: bytes) -> object:
    async def reply() -> tuple[bytes, bool]:
        listener = Listener()
        listener._host = "127.0.0.1:1"
        return listener._reply(data), listener.answer.done()

    answer, heard = asyncio.run(reply())
    assert not heard, "nobody can know the cookie"
    assert answer.startswith(b"HTTP/1.1 404 ")
    return answer


def _text(**members: Any) -> bytes:
    return json.dumps(members).encode()


_COMMON: Final = {"iss": "https://id.example", "aud": "web", "iat": int(NOW), "exp": int(NOW) + 60}
_EVENT: Final = {"http://schemas.openid.net/event/backchannel-logout": {}}

LOGIN_TARGETS: Final[dict[str, Callable[[bytes], object]]] = {
    "browser_cookies": _browser_cookies,
    "device_answer": _device_answer,
    "id_token": _id_token,
    "logout_token": _logout_token,
    "loopback": _loopback,
    "oidc_metadata": _metadata,
    "oidc_token_answer": _token_answer,
    "shell_token_answer": _shell_token_answer,
    "subprotocols": _offers,
}

LOGIN_SEEDS: Final[dict[str, Callable[[], list[bytes]]]] = {
    "browser_cookies": lambda: [b"__Host-oidc-0000000000000000=" + b"A" * 43 + b"; a=b"],
    "device_answer": lambda: [
        _text(
            device_code="d",
            user_code="WDJB-MJHT",
            verification_uri="https://id.example/activate",
            expires_in=1800,
            interval=5,
        )
    ],
    "id_token": lambda: [
        _text(**_COMMON, sub="alice", nonce="n", sid="s", amr=["pwd"], auth_time=1, acr="0"),
        _text(**{**_COMMON, "aud": ["web", "x"]}, azp="web", sub="a", nonce="n"),
    ],
    "logout_token": lambda: [_text(**_COMMON, sub="alice", sid="s", jti="j", events=_EVENT)],
    "loopback": lambda: [
        (
            b"GET /callback?code=c&state=s HTTP/1.1\r\nhost: 127.0.0.1:1\r\n"
            b"cookie: asgi-guard-login-1=x\r\n\r\n"
        )
    ],
    "oidc_metadata": lambda: [
        _text(
            issuer="https://id.example",
            authorization_endpoint="https://id.example/a",
            token_endpoint="https://id.example/t",
            jwks_uri="https://id.example/k",
            response_types_supported=["code"],
            code_challenge_methods_supported=["S256"],
        )
    ],
    "oidc_token_answer": lambda: [
        _text(access_token="a", id_token="i", token_type="Bearer", expires_in=60, scope="openid")
    ],
    "shell_token_answer": lambda: [
        _text(access_token="a", refresh_token="r", token_type="Bearer", expires_in=60),
        _text(error="slow_down"),
    ],
    "subprotocols": lambda: [b"bearer, abc.def.ghi, notes.v1", b"a=b&access_token=x&c"],
}
