"""Whose address an event names is decided once, by the guard, for every layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from asgi_guard._internal.events import subscribe
from asgi_guard._internal.proxies import TrustedProxies
from asgi_guard.cors import CORSPolicy
from asgi_guard.protocols import Receive, Scope, SecurityEvent, Send
from asgi_guard.stack import Guard
from tests.support.exchange import http_scope
from tests.support.hosts_apps import HOSTS
from tests.support.hosts_guard import ACME, GLOBEX, guard_settings, token

PROXY, CALLER, FORGED = "10.0.0.1", "203.0.113.9", "198.51.100.66"
ALICE = token("alice", ACME)
TRUSTED = TrustedProxies(["10.0.0.0/8"])

EVENTS: dict[str, tuple[str, str, dict[str, str]]] = {
    "AUTHENTICATION_FAILED": ("GET", "/whoami", {"authorization": "Bearer %%"}),
    "AUTHENTICATION_SUCCEEDED": ("GET", "/whoami", ALICE),
    "TENANT_REFUSED": ("GET", "/whoami", token("alice", GLOBEX)),
    "CORS_DENIED": ("GET", "/health", {"origin": "https://evil.example"}),
    "CROSS_ORIGIN_REFUSED": ("POST", "/only-post", {"sec-fetch-site": "cross-site"}),
}


class Kept(list[SecurityEvent]):
    routine = True

    def emit(self, event: SecurityEvent) -> None:
        self.append(event)


async def ask(app: Callable[..., Any], method: str, path: str, headers: dict[str, str]) -> None:
    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        return None

    await app(http_scope(method, path, headers) | {"client": (PROXY, 4711)}, receive, send)


async def events_of(name: str, sent: dict[str, str], proxies: TrustedProxies) -> list[Any]:
    kept = Kept()
    unsubscribe = subscribe(kept)
    try:
        settings = guard_settings(
            cors=CORSPolicy(allow_origins=["https://friend.example"]), trusted_proxies=proxies
        )
        method, path, headers = EVENTS[name]
        await ask(Guard(settings).install(HOSTS["raw"]([])), method, path, headers | sent)
    finally:
        unsubscribe()
    return [event.client for event in kept if event.name == name]


@pytest.mark.parametrize("name", EVENTS)
async def test_behind_a_trusted_proxy_every_event_names_the_caller(name: str) -> None:
    """One caller under two addresses is two callers for whoever reads or blocks by address."""
    sent = {"x-forwarded-for": f"{FORGED}, {CALLER}"}

    assert await events_of(name, sent, TRUSTED) == [CALLER]


@pytest.mark.parametrize("name", EVENTS)
async def test_who_is_no_proxy_names_nobody_else(name: str) -> None:
    """Attacker's side: a header that anybody can type must not blame somebody else."""
    sent = {"x-forwarded-for": FORGED}

    assert await events_of(name, sent, TrustedProxies()) == [PROXY]


async def test_the_context_names_the_same_client() -> None:
    """What the app reports itself goes through its context."""
    seen: list[str | None] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        from asgi_guard.tenancy import require_context  # noqa: PLC0415 - beside its use

        seen.append(require_context().client)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guarded = Guard(guard_settings(trusted_proxies=TRUSTED)).install(app)
    await ask(guarded, "GET", "/", ALICE | {"x-forwarded-for": CALLER})

    assert seen == [CALLER]


async def test_nothing_is_left_on_a_scope_that_is_used_again() -> None:
    """A layer outside that hands the same scope in again must not freeze the first answer."""
    guarded = Guard(guard_settings(trusted_proxies=TRUSTED)).install(HOSTS["raw"]([]))
    scope = http_scope("GET", "/health", {"x-forwarded-for": CALLER}) | {"client": (PROXY, 1)}

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        return None

    await guarded(scope, receive, send)

    assert not [key for key in scope if key.startswith("asgi_guard.client")]
