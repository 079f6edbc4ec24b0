"""Strangers who begin logins and never finish them: they must not use up what all others need."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth.oidc import OIDCLogin
from asgi_guard.auth.throttle import Throttle, ThrottleLimits
from asgi_guard.errors import ConfigError
from tests.support.exchange import Answer, ask, http_scope
from tests.support.oidc_world import FETCH, Sessions, World, provider_settings, world

FEW = ThrottleLimits(account="", address="3 per 5 minutes", tenant="")
FLOODER, OTHER = "203.0.113.9", "198.51.100.7"


async def begin(w: World, address: str) -> Answer:
    scope = http_scope("GET", "/auth/login/small", scheme="https")
    return await ask(w.app, {**scope, "query_string": b"", "client": (address, 5000)})


def entries(w: World) -> int:
    return sum(key.startswith("oidc:login:") for key in w.store._entries)


async def test_one_process_keeps_a_bounded_number_of_states() -> None:
    """The store is the sessions' as well: full of states, it would refuse those."""
    async with world(most_waiting=5) as w:
        answers = [await begin(w, FLOODER) for _ in range(9)]

        assert [each.status for each in answers] == [303] * 5 + [503] * 4
        assert entries(w) == 5
        assert {event.reason for event in w.named("OIDC_LOGIN_REFUSED")} == {"logins_under_way"}
        await w.store.put("session:somebody", b"x", ttl=60)

        w.clock.time += 301
        assert (await begin(w, OTHER)).status == 303


async def test_logins_that_are_finished_make_room() -> None:
    """The bound is on those that wait, or a busy morning would lock the door."""
    async with world(most_waiting=2) as w:
        for _ in range(6):
            assert (await w.log_in(w.browser())).status == 303


async def test_an_address_that_begins_too_many_is_told_to_wait_and_others_are_not() -> None:
    """With one event for each refusal, which is the throttle's."""
    throttle = Throttle(limits=FEW, name="oidc")
    async with world(throttle=throttle) as w:
        answers = [await begin(w, FLOODER) for _ in range(5)]

        assert [each.status for each in answers] == [303] * 3 + [429] * 2
        assert answers[-1].header("retry-after")
        assert len(w.named("THROTTLED")) == 2
        assert w.named("OIDC_LOGIN_REFUSED") == []
        assert entries(w) == 3
        assert (await begin(w, OTHER)).status == 303


async def test_a_login_that_succeeds_is_not_counted() -> None:
    """An office behind one address logs in all morning."""
    async with world(throttle=Throttle(limits=FEW, name="oidc")) as w:
        for _ in range(8):
            assert (await w.log_in(w.browser())).status == 303


async def test_a_full_store_drops_nothing_and_says_that_it_is_unavailable() -> None:
    """Evicting the oldest would let whoever floods end the logins of all others."""
    async with world() as w:
        w.store._max = 4
        first = w.browser()
        location = await w.begin(first)
        while (await begin(w, FLOODER)).status == 303:
            pass
        w.store._max = 100
        back: Any = w.provider.authorize(location)

        assert (await first.go("/auth/callback/small", **back)).status == 303


@pytest.mark.parametrize("mode", ["no-cors", "cors", "same-origin", "websocket", "x"])
async def test_an_image_on_a_busy_page_begins_no_logins(mode: str) -> None:
    """Each visitor has an address of its own, and none of them asked to log in (Fetch Metadata)."""
    async with world() as w:
        answer = await w.browser().go("/auth/login/small", headers=[("sec-fetch-mode", mode)])

        assert (answer.status, w.refusal()) == (400, "login_no_navigation")
        assert entries(w) == 0
        gone = await w.browser().go("/auth/login/small", headers=[("sec-fetch-mode", "navigate")])
        assert gone.status == 303


@pytest.mark.parametrize(
    "changes",
    [{"most_waiting": 0}, {"most_waiting": True}, {"throttle": "10 per minute"}],
    ids=["none", "a-flag", "text"],
)
async def test_a_bound_that_is_none_is_refused(changes: dict[str, Any]) -> None:
    """When built."""
    async with world() as w:
        settings = {"sessions": Sessions(), "store": MemoryStore(), "fetch": FETCH, **changes}
        with pytest.raises(ConfigError):
            OIDCLogin([provider_settings(w.provider)], **settings)
