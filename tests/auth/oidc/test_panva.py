"""The whole way through a provider that others wrote: panva's certified ``oidc-provider``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.observability import subscribe
from tests.support.exchange import Events
from tests.support.node_oidc import OIDCProvider as Panva
from tests.support.oidc_served import (
    CLIENTS,
    ShiftedClock,
    client_metadata,
    oidc_app,
)
from tests.support.oidc_visitor import Visitor, confirm_logout
from tests.support.tenancy_server import serving

pytestmark = [pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="module")]


@dataclass
class Place:
    """The app, its provider, and what a test may move."""

    origin: str
    panva: Panva
    clock: ShiftedClock
    tokens: list[Any]
    events: Events
    client: httpx2.AsyncClient

    def visitor(self) -> Visitor:
        return Visitor(self.client)

    async def who(self, visitor: Visitor) -> str:
        return str((await visitor.go(f"{self.origin}/whoami")).json())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(oidc_provider: Callable[..., Panva]) -> AsyncIterator[Place]:
    """Give the app and the provider, for the module."""
    inner: list[Any] = []

    async def late(scope: Any, receive: Any, send: Any) -> None:
        await inner[0](scope, receive, send)

    async with serving(late) as port:
        origin = f"http://127.0.0.1:{port}"
        panva = oidc_provider(clients=client_metadata(origin))
        clock, tokens = ShiftedClock(), []

        async def on_tokens(login: Any, found: Any) -> None:
            tokens.append((login, found))

        store = MemoryStore(clock=clock)
        inner.append(oidc_app(origin, panva.issuer, store=store, clock=clock, on_tokens=on_tokens))
        async with httpx2.AsyncClient(trust_env=False) as client:
            yield Place(origin, panva, clock, tokens, Events(), client)


@pytest.fixture(autouse=True)
def fresh(place: Place) -> Any:
    """Give each test its own events and tokens, and alice at the keyboard."""
    place.events = Events()
    place.tokens.clear()
    place.panva.log_in_as("alice")
    unsubscribe = subscribe(place.events)
    yield
    unsubscribe()


def refusals(place: Place) -> list[Any]:
    return [event for event in place.events.seen if event.name == "OIDC_LOGIN_REFUSED"]


@pytest.mark.parametrize("name", CLIENTS)
async def test_a_login_works_with_each_way_to_prove_the_client(place: Place, name: str) -> None:
    """What an implementation by others takes is what the standards mean."""
    visitor = place.visitor()

    answer = await visitor.go(f"{place.origin}/auth/login/{name}?next=/whoami")

    assert answer.json() == "alice"
    [(login, tokens)] = place.tokens
    assert login.issuer == place.panva.issuer
    assert login.claims["aud"] == f"notes-{name}"
    assert login.sid
    assert tokens.refresh_token is not None
    assert (login.userinfo.get("email") == "alice@example.com") is (name == "basic")
    assert refusals(place) == []


async def test_a_login_survives_a_rotation_of_the_provider_s_keys(place: Place) -> None:
    """The old key is gone from one moment to the next; the next login fetches the new one."""
    await place.visitor().go(f"{place.origin}/auth/login/basic?next=/whoami")
    place.panva.rotate_keys()
    place.clock.ahead += 31  # the cooldown of fetching keys

    answer = await place.visitor().go(f"{place.origin}/auth/login/basic?next=/whoami")

    assert answer.json() == "alice"


async def test_a_person_who_says_no_is_not_logged_in(place: Place) -> None:
    """Core 1.0 section 3.1.2.6, with ``iss`` in the error as well."""
    place.panva.log_in_as("refuses")
    visitor = place.visitor()

    answer = await visitor.go(f"{place.origin}/auth/login/basic")

    assert answer.status_code == 400
    [event] = refusals(place)
    assert (event.reason, event.details["provider_error"]) == ("provider_error", "access_denied")
    assert await place.who(visitor) == "nobody"


async def test_a_code_is_of_no_use_twice(place: Place) -> None:
    """The provider refuses it, and what it says becomes one reason."""
    victim, attacker = place.visitor(), place.visitor()
    begun = await victim.go(
        f"{place.origin}/auth/login/basic", until=f"{place.origin}/auth/callback"
    )
    stolen = httpx2.URL(begun.headers["location"]).params["code"]
    await victim.go(begun.headers["location"])
    place.panva.log_in_as("mallory")
    mine = await attacker.go(
        f"{place.origin}/auth/login/basic", until=f"{place.origin}/auth/callback"
    )
    url = httpx2.URL(mine.headers["location"]).copy_set_param("code", stolen)

    answer = await attacker.go(str(url))

    assert answer.status_code == 400
    assert [event.reason for event in refusals(place)] == ["token_code_refused"]


async def test_a_logout_here_ends_the_session_there(place: Place) -> None:
    """RP-Initiated Logout 1.0: afterwards the provider asks who is there again."""
    visitor = place.visitor()
    await visitor.go(f"{place.origin}/auth/login/post?next=/whoami")

    await confirm_logout(visitor, f"{place.origin}/auth/logout")

    assert visitor.path[-2:] == ["GET /auth/logged-out", "GET /"]
    assert await place.who(visitor) == "nobody"
    place.panva.log_in_as("bob")
    answer = await visitor.go(f"{place.origin}/auth/login/post?next=/whoami")
    assert answer.json() == "bob"


async def test_a_logout_there_ends_the_sessions_here(place: Place) -> None:
    """Back-Channel Logout 1.0: another device, at another client of the same provider."""
    first, second = place.visitor(), place.visitor()
    await first.go(f"{place.origin}/auth/login/basic?next=/whoami")
    host = place.panva.issuer.removeprefix("http://")
    second.cookies[host] = dict(first.cookies[host])  # one person, one session at the provider
    await second.go(f"{place.origin}/auth/login/key?next=/whoami")
    assert await place.who(second) == "alice"

    await confirm_logout(first, f"{place.origin}/auth/logout")

    assert await place.who(first) == "nobody"
    assert await place.who(second) == "nobody"
    told = [event for event in place.events.seen if event.name == "OIDC_BACKCHANNEL_LOGOUT"]
    assert [event.outcome for event in told] == ["allowed"] * len(told)
    assert 1 in [event.details["sessions"] for event in told]


async def test_the_settings_fit_what_the_provider_says(place: Place) -> None:
    """`check` finds nothing to say about a provider that works."""
    app = oidc_app(place.origin, place.panva.issuer, store=MemoryStore(), clock=place.clock)

    assert await app.state.login.check() == []
