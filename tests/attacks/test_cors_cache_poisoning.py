"""A cache between us and two pages must never hand one page's grant to the other."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from asgi_guard.cors import CORSAllowlistMiddleware, CORSPolicy
from asgi_guard.protocols import ASGIApp
from tests.support.cors_client import Answer, ask, recorded_events, saying

FRIEND = "https://app.example.com"
OTHER = "https://admin.example.com"
EVIL = "https://evil.example"


@dataclass
class SharedCache:
    """A cache by RFC 9111 section 4.1: the key is the URL and what ``Vary`` names."""

    app: ASGIApp
    kept: list[tuple[str, dict[str, str | None], Answer]] = field(default_factory=list)

    async def get(self, target: str, origin: str | None) -> Answer:
        sent = {"origin": origin}
        for url, selected, answer in self.kept:
            if url == target and all(sent.get(name) == value for name, value in selected.items()):
                return answer
        answer = await ask(self.app, target=target, origin=origin)
        varying = [name.strip().lower() for v in answer.values("vary") for name in v.split(",")]
        self.kept.append((target, {name: sent.get(name) for name in varying}, answer))
        return answer


@pytest.mark.parametrize("first", [None, EVIL, FRIEND, OTHER])
@pytest.mark.parametrize("own_vary", [None, b"Accept-Encoding"])
async def test_whoever_fills_the_cache_every_page_gets_its_own_answer(
    first: str | None, own_vary: bytes | None
) -> None:
    """An image tag (no Origin), a stranger or another friend may come first."""
    fields = [(b"vary", own_vary)] if own_vary else []
    policy = CORSPolicy(allow_origins=[FRIEND, OTHER], allow_credentials=True)
    cache = SharedCache(CORSAllowlistMiddleware(saying(*fields), policy=policy))
    with recorded_events():
        await cache.get("/", first)

        for origin in (None, EVIL, FRIEND, OTHER, None, EVIL):
            answer = await cache.get("/", origin)
            expected = [origin] if origin in {FRIEND, OTHER} else []
            assert answer.values("access-control-allow-origin") == expected


async def test_the_cache_does_poison_when_vary_is_missing() -> None:
    """Control: a middleware that varies on granted answers only, as several peers did."""
    policy = CORSPolicy(allow_origins=[FRIEND])
    guarded = CORSAllowlistMiddleware(saying(), policy=policy)

    async def forgetful(scope, receive, send):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        async def without_vary(message):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
            if "headers" in message and not dict(scope["headers"]).get(b"origin"):
                message = {**message, "headers": []}
            await send(message)

        await guarded(scope, receive, without_vary)

    cache = SharedCache(forgetful)
    await cache.get("/", None)

    assert (await cache.get("/", FRIEND)).values("access-control-allow-origin") == []
