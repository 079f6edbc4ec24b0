"""Ways to make a provider that is honest otherwise do one thing wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from asgi_guard.auth.jose.base64url import b64url_encode
from tests.support.jose_tokens import signing_key
from tests.support.oidc_provider import SmallProvider, json_answer

__all__ = [
    "BOMB",
    "DISCOVERY",
    "HTML",
    "JWKS",
    "ME",
    "TOKEN",
    "Misbehaviour",
    "by_another_key",
    "by_public_key_as_secret",
    "changed",
    "id_token",
    "never",
    "resigned",
    "says",
    "with_its_own_key",
]

DISCOVERY, TOKEN, JWKS, ME = "/.well-known/openid-configuration", "/token", "/jwks", "/me"
BOMB = b'{"a":' * 5000 + b"1" + b"}" * 5000
HTML = b"<!doctype html><script>alert(1)</script>"
_OTHER = signing_key("ES256", 7)
_LATER = (
    "_encoded",
    "_failed",
    "_protocol_error",
    "_timeout",
    "_too_large",
    "_unreachable",
)
Change = Callable[[SmallProvider], None]


@dataclass(frozen=True)
class Misbehaviour:
    """One thing that a provider does."""

    name: str
    reason: str
    change: Change
    setup: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    @property
    def status(self) -> int:
        """503 where it may be better later, 400 where it is wrong."""
        return 503 if self.reason.endswith(_LATER) else 400


def says(path: str, answer: bytes | None) -> Change:
    """Answer *path* with these bytes; None to reset the connection."""

    def change(provider: SmallProvider) -> None:
        provider.answers[path] = lambda _provider, _form: answer

    return change


def never(path: str) -> Change:
    """Never answer *path*."""

    async def wait(_provider: SmallProvider, _form: dict[str, str]) -> bytes:
        await asyncio.Event().wait()
        return b""

    def change(provider: SmallProvider) -> None:
        provider.answers[path] = wait

    return change


def changed(part: str, **changes: Any) -> Change:
    """Change members of ``metadata``, ``claims``, ``header`` or ``tokens``."""

    def change(provider: SmallProvider) -> None:
        getattr(provider, part).update(changes)

    return change


def id_token(make: Callable[[SmallProvider, str], Any]) -> Change:
    """Answer the token endpoint with another ID token, made from the honest one."""

    def change(provider: SmallProvider) -> None:
        honest = provider.answer

        async def answer(method: str, path: str, form: dict[str, str]) -> Any:
            made = await honest(method, path, form)
            if path != TOKEN or made is None:
                return made
            members = json.loads(made.partition(b"\r\n\r\n")[2])
            members["id_token"] = make(provider, members["id_token"])
            return json_answer(members)

        provider.answer = answer  # type: ignore[method-assign]

    return change


def resigned(token: str, header: dict[str, Any], signature: bytes = b"") -> str:
    _, payload, _ = token.split(".")
    return f"{_part(header)}.{payload}.{b64url_encode(signature).decode()}"


def _part(value: Any) -> str:
    return b64url_encode(json.dumps(value).encode()).decode()


def by_another_key(provider: SmallProvider, token: str) -> str:
    text, _, _ = token.rpartition(".")
    return f"{text}.{b64url_encode(_OTHER.sign(text.encode())).decode()}"


def by_public_key_as_secret(provider: SmallProvider, token: str) -> str:
    return resigned(token, {"alg": "HS256", "kid": provider.key.kid}, b"x" * 32)


def with_its_own_key(provider: SmallProvider, token: str) -> str:
    header = {"alg": "ES256", "jwk": _OTHER.jwk}
    text = resigned(token, header).rpartition(".")[0]
    return f"{text}.{b64url_encode(_OTHER.sign(text.encode())).decode()}"
