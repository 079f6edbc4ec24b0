"""A small OpenID provider on loopback that answers as a test tells it to, honestly by default."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from asgi_guard.auth.jose import SigningKey
from tests.support.jose_tokens import signing_key
from tests.support.tenancy_tokens import b64
from tests.support.tenancy_world import MovedClock

__all__ = [
    "ACCESS_TOKEN",
    "CLIENT",
    "REFRESH_TOKEN",
    "SECRET",
    "SmallProvider",
    "json_answer",
    "raw_answer",
]

CLIENT = "notes-web"
SECRET = "canary-client-secret-5d1f"
ACCESS_TOKEN = "canary-access-token-77aa"
REFRESH_TOKEN = "canary-refresh-token-12ef"

Answer = bytes | None
Answerer = Callable[["SmallProvider", dict[str, str]], Answer | Awaitable[Answer]]


def raw_answer(
    body: bytes, *, status: str = "200 OK", kind: str = "application/json", **headers: str
) -> bytes:
    """Build an HTTP/1.1 answer; ``content_length`` may lie."""
    fields = {"content-type": kind, "content-length": str(len(body)), "connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def json_answer(members: Any, *, status: str = "200 OK", **headers: str) -> bytes:
    """Build an answer of JSON."""
    return raw_answer(json.dumps(members).encode(), status=status, **headers)


class SmallProvider:
    """What it says, signs and answers; each part may be replaced by a test.

    ``answers``: by path, what comes instead of the honest answer. ``metadata``, ``claims``,
    ``header``, ``tokens``: changes to the honest ones; None takes a member out.
    """

    def __init__(self, port: int, clock: MovedClock, *, host: str = "127.0.0.1") -> None:
        self.issuer = f"http://{host}:{port}"
        self.clock = clock
        self.key: SigningKey = signing_key()
        self.published: list[dict[str, str]] = [self.key.jwk]
        self.answers: dict[str, Answerer] = {}
        self.metadata: dict[str, Any] = {}
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.tokens: dict[str, Any] = {}
        self.calls: list[str] = []
        self.forms: list[dict[str, str]] = []
        self.codes: dict[str, dict[str, str]] = {}

    def authorize(self, location: str, *, subject: str = "alice") -> dict[str, str]:
        """Log *subject* in at once, and return the parameters of the answer."""
        asked = dict(parse_qsl(urlsplit(location).query))
        code = f"canary-code-{len(self.codes)}"
        self.codes[code] = {**asked, "subject": subject}
        return {"code": code, "state": asked["state"], "iss": self.issuer}

    def id_token(self, *, nonce: str = "n", subject: str = "alice", **changes: Any) -> str:
        """Sign an ID token."""
        now = int(self.clock.now())
        honest = {
            "iss": self.issuer,
            "aud": CLIENT,
            "sub": subject,
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            "sid": "sid-1",
            "at_hash": b64(sha256(ACCESS_TOKEN.encode()).digest()[:16]).decode(),
        }
        return self.signed({**honest, **self.claims, **changes}, {"typ": "JWT"})

    def logout_token(self, **changes: Any) -> str:
        """Sign a logout token."""
        now = int(self.clock.now())
        honest = {
            "iss": self.issuer,
            "aud": CLIENT,
            "sub": "alice",
            "sid": "sid-1",
            "iat": now,
            "exp": now + 120,
            "jti": "logout-1",
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        }
        return self.signed({**honest, **changes}, {"typ": "logout+jwt"})

    def signed(self, claims: Mapping[str, Any], header: Mapping[str, Any]) -> str:
        """Sign *claims*, leaving out what is None; ``header`` of the provider wins."""
        kept = {name: value for name, value in claims.items() if value is not None}
        usual = {"alg": self.key.algorithm, "kid": self.key.kid, **header, **self.header}
        named = {name: value for name, value in usual.items() if value is not None}
        text = b64(json.dumps(named).encode()) + b"." + b64(json.dumps(kept).encode())
        return (text + b"." + b64(self.key.sign(text))).decode()

    async def answer(self, method: str, path: str, form: dict[str, str]) -> Answer:
        """Return the bytes of the answer; None to hang up without one."""
        self.calls.append(f"{method} {path}")
        if path in self.answers:
            made = self.answers[path](self, form)
            return await made if isinstance(made, Awaitable) else made
        honest = {
            "/.well-known/openid-configuration": self._discovery,
            "/jwks": lambda _: json_answer({"keys": self.published}),
            "/token": self._token,
            "/me": lambda _: json_answer({"sub": "alice", "name": "Alice"}),
        }
        if path not in honest:
            return raw_answer(b"{}", status="404 Not Found")
        return honest[path](form)

    def _discovery(self, _form: dict[str, str]) -> bytes:
        honest = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/me",
            "end_session_endpoint": f"{self.issuer}/end",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "authorization_response_iss_parameter_supported": True,
        }
        merged = {**honest, **self.metadata}
        return json_answer({name: value for name, value in merged.items() if value is not None})

    def _token(self, form: dict[str, str]) -> bytes:
        self.forms.append(form)
        asked = self.codes.pop(form.get("code", ""), None)
        challenge = b64(sha256(form.get("code_verifier", "").encode()).digest()).decode()
        if asked is None or asked["code_challenge"] != challenge:
            return json_answer({"error": "invalid_grant"}, status="400 Bad Request")
        honest = {
            "access_token": ACCESS_TOKEN,
            "refresh_token": REFRESH_TOKEN,
            "token_type": "Bearer",
            "expires_in": 600,
            "scope": "openid",
            "id_token": self.id_token(nonce=asked["nonce"], subject=asked["subject"]),
        }
        merged = {**honest, **self.tokens}
        return json_answer({name: value for name, value in merged.items() if value is not None})

    @classmethod
    @asynccontextmanager
    async def serving(cls, clock: MovedClock) -> AsyncIterator[SmallProvider]:
        """Serve one until the block ends."""
        provider: SmallProvider | None = None

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await _exchange(provider, reader, writer)
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()

        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        provider = cls(server.sockets[0].getsockname()[1], clock)
        try:
            yield provider
        finally:
            server.close()
            await server.wait_closed()


async def _exchange(
    provider: SmallProvider | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    with suppress(OSError, asyncio.IncompleteReadError):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split(" ", 2)
        fields = dict(
            line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line
        )
        body = await reader.readexactly(int(fields.get("content-length", "0")))
        form = {name: values[-1] for name, values in parse_qs(body.decode()).items()}
        assert provider is not None
        made = await provider.answer(method, urlsplit(target).path, form)
        if made is None:
            writer.transport.abort()
            return
        writer.write(made)
        await writer.drain()
